/* A real redis-server for one test: started on a free port and a unix socket in a
 * directory of its own, asked by a blocking client, killed at the end. */
#ifndef THREADCAST_TEST_REDIS_SERVER_H
#define THREADCAST_TEST_REDIS_SERVER_H

#include "common/buf.h"
#include "common/clock.h"
#include "common/redis.h"
#include "common/redis_reply.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SERVER_ARGS 32
#define TEST_SERVER_START_MS 20000

struct test_redis {
    pid_t pid;
    char dir[64];
    char data[80];
    char socket[80];
    char log[80];
    int port;
    const char *extra[TEST_SERVER_ARGS]; /* "--requirepass", "x", … */
    char password[64];                   /* for the test's own client */
};

static inline int test_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        port = ntohs(a.sin_port);
    close(fd);
    return port;
}

static inline void test_die(const char *what, const char *log)
{
    char text[4096];
    int fd = log ? open(log, O_RDONLY) : -1;
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

    fprintf(stderr, "test: %s\n%.*s\n", what, n > 0 ? (int)n : 0, text);
    exit(99);
}

static inline void test_remove(const char *dir)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf -- '%s'", dir);
    if (system(command) != 0)
        fprintf(stderr, "test: %s could not be removed\n", dir);
}

static inline int test_redis_connect(const struct test_redis *s)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", s->socket);
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Runs "SET a b" style words (no spaces inside a word) on a connection of its own. The
 * answer's text is in `out`: a string, status or error, a number, the strings of an
 * array by lines. */
static inline bool test_redis_ask(const struct test_redis *s, char *out, size_t size,
                                  const char *command)
{
    struct redis_reader *rd = redis_reader_new(1 << 24, 1 << 20);
    const struct redis_reply *reply = NULL;
    char line[1024], bytes[16384];
    int fd = test_redis_connect(s), skip = s->password[0] ? 1 : 0;
    bool ok = false;

    if (fd < 0)
        goto done;
    snprintf(line, sizeof(line), "%s%s%s%s\r\n", skip ? "AUTH " : "", s->password,
             skip ? "\r\n" : "", command);
    if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        goto done;
    while (!ok) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, 5000) == 1 ? read(fd, bytes, sizeof(bytes)) : 0;
        if (n <= 0)
            goto done;
        redis_reader_feed(rd, bytes, (size_t)n);
        while (!ok && redis_reader_next(rd, &reply) == REDIS_READ_REPLY)
            ok = skip-- == 0;
    }
    out[0] = '\0';
    if (reply->type == REDIS_INTEGER)
        snprintf(out, size, "%lld", (long long)reply->integer);
    else if (reply->type == REDIS_ARRAY)
        for (size_t i = 0, n = 0; i < reply->count && n < size; i++)
            n += (size_t)snprintf(out + n, size - n, "%s\n",
                                  reply->items[i]->str ? reply->items[i]->str : "");
    else if (reply->str)
        snprintf(out, size, "%s", reply->str);
done:
    if (fd >= 0)
        close(fd);
    redis_reader_free(rd);
    return ok;
}

static inline bool test_redis_do(const struct test_redis *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool test_redis_do(const struct test_redis *s, const char *fmt, ...)
{
    char command[900], out[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    return test_redis_ask(s, out, sizeof(out), command);
}

/* Starts (or starts again, with its data) and, when told so, waits until it answers. */
static inline void test_redis_run(struct test_redis *s, bool wait)
{
    int64_t until_ms = clock_ms() + TEST_SERVER_START_MS;
    char out[256];

    s->pid = fork();
    if (s->pid == 0) {
        const char *argv[TEST_SERVER_ARGS + 24];
        char port[16];
        int n = 0, fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        snprintf(port, sizeof(port), "%d", s->port);
        const char *fixed[] = {"redis-server",
                               "--port",
                               port,
                               "--bind",
                               "127.0.0.1",
                               "--unixsocket",
                               s->socket,
                               "--dir",
                               s->data,
                               "--save",
                               "",
                               "--appendonly",
                               "no",
                               "--enable-debug-command",
                               "yes"};
        for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
            argv[n++] = fixed[i];
        for (int i = 0; s->extra[i]; i++)
            argv[n++] = s->extra[i];
        argv[n] = NULL;
        dup2(fd, 1);
        dup2(fd, 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves none behind */
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (wait) {
        struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};
        if (test_redis_ask(s, out, sizeof(out), "PING") && strcmp(out, "PONG") == 0)
            return;
        if (clock_ms() > until_ms || waitpid(s->pid, NULL, WNOHANG) == s->pid)
            test_die("redis-server did not start", s->log);
        nanosleep(&nap, NULL);
    }
}

static inline void test_redis_kill(struct test_redis *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

/* `extra` ends with NULL or is NULL. */
static inline void test_redis_start(struct test_redis *s, const char *const *extra)
{
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "/tmp/threadcast-redis-XXXXXX");
    if (!mkdtemp(s->dir))
        test_die("mkdtemp", NULL);
    snprintf(s->data, sizeof(s->data), "%s/data", s->dir);
    mkdir(s->data, 0700);
    snprintf(s->socket, sizeof(s->socket), "%s/s", s->dir);
    snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
    for (int i = 0; extra && extra[i] && i < TEST_SERVER_ARGS - 1; i++) {
        s->extra[i] = extra[i];
        if (i > 0 && strcmp(extra[i - 1], "--requirepass") == 0)
            snprintf(s->password, sizeof(s->password), "%s", extra[i]);
    }
    s->port = test_free_port();
    test_redis_run(s, true);
}

static inline void test_redis_stop(struct test_redis *s)
{
    test_redis_kill(s);
    test_remove(s->dir);
}

#endif
