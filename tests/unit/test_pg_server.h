/* A real PostgreSQL for one test program: initdb once into a directory of its own, a free
 * port and a unix socket, run as user postgres when the test is root. */
#ifndef THREADCAST_TEST_PG_SERVER_H
#define THREADCAST_TEST_PG_SERVER_H

#include "common/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct test_pg {
    pid_t pid;
    char bin[128];
    char dir[64];
    char data[80];
    char log[80];
    int port;
    char url[160]; /* postgres://postgres@127.0.0.1:port/postgres */
    char unix_url[160];
};

static inline void test_pg_die(const struct test_pg *s, const char *what)
{
    char text[4096];
    int fd = open(s->log, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

    fprintf(stderr, "test: %s\n%.*s\n", what, n > 0 ? (int)n : 0, text);
    exit(99);
}

static inline int test_pg_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        port = ntohs(a.sin_port);
    close(fd);
    return port;
}

/* Runs a program of the server's as the right user; the result is its pid. */
static inline pid_t test_pg_exec(const struct test_pg *s, const char *const *argv)
{
    const struct passwd *user = getuid() == 0 ? getpwnam("postgres") : NULL;
    pid_t pid = fork();

    if (pid == 0) {
        char path[256];
        int fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        snprintf(path, sizeof(path), "%s/%s", s->bin, argv[0]);
        dup2(fd, 1);
        dup2(fd, 2);
        if (user && (initgroups(user->pw_name, user->pw_gid) != 0 ||
                     setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
            _exit(126);
        prctl(PR_SET_PDEATHSIG, SIGQUIT); /* a test that crashes leaves none behind */
        setenv("PATH", s->bin, 1);        /* where initdb looks for postgres */
        if (chdir(s->dir) == 0)
            execv(path, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

/* One statement on a connection of the test's own; its first value is in `out`. */
static inline bool test_pg_ask(const struct test_pg *s, char *out, size_t size,
                               const char *sql)
{
    PGconn *conn = PQconnectdb(s->unix_url);
    PGresult *res = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, sql) : NULL;
    ExecStatusType status = PQresultStatus(res);
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    if (out && ok && PQntuples(res) > 0)
        snprintf(out, size, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(conn);
    return ok;
}

static inline bool test_pg_do(const struct test_pg *s, const char *sql)
{
    return test_pg_ask(s, NULL, 0, sql);
}

static inline void test_pg_run(struct test_pg *s)
{
    char port[16];
    int64_t until_ms = clock_ms() + 30000;
    const char *argv[] = {"postgres",
                          "-D",
                          s->data,
                          "-p",
                          port,
                          "-c",
                          "listen_addresses=127.0.0.1",
                          "-k",
                          s->dir,
                          "-c",
                          "fsync=off",
                          "-c",
                          "full_page_writes=off",
                          "-c",
                          "autovacuum=off",
                          "-c",
                          "max_connections=20",
                          "-c",
                          "shared_buffers=8MB",
                          NULL};

    snprintf(port, sizeof(port), "%d", s->port);
    s->pid = test_pg_exec(s, argv);
    while (!test_pg_do(s, "SELECT 1")) {
        struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};
        if (clock_ms() > until_ms || waitpid(s->pid, NULL, WNOHANG) == s->pid)
            test_pg_die(s, "postgres did not start");
        nanosleep(&nap, NULL);
    }
}

/* At once, as a crash would, but without leaving shared memory behind. */
static inline void test_pg_kill(struct test_pg *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGQUIT);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

static inline void test_pg_start(struct test_pg *s)
{
    const struct passwd *user = getuid() == 0 ? getpwnam("postgres") : NULL;
    const char *init[] = {"initdb", "-D", s->data,       "-U", "postgres", "-A",
                          "trust",  "-N", "--no-locale", "-E", "UTF8",     NULL};
    char hba[100];
    glob_t found;
    int status;
    FILE *f;

    memset(s, 0, sizeof(*s));
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) != 0)
        test_pg_die(s, "no PostgreSQL in /usr/lib/postgresql");
    snprintf(s->bin, sizeof(s->bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    snprintf(s->dir, sizeof(s->dir), "/tmp/threadcast-pg-XXXXXX");
    if (!mkdtemp(s->dir) || (user && chown(s->dir, user->pw_uid, user->pw_gid) != 0))
        test_pg_die(s, "mkdtemp");
    snprintf(s->data, sizeof(s->data), "%s/data", s->dir);
    snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
    s->port = test_pg_port();
    snprintf(s->url, sizeof(s->url), "postgres://postgres@127.0.0.1:%d/postgres",
             s->port);
    snprintf(s->unix_url, sizeof(s->unix_url),
             "host=%s port=%d user=postgres dbname=postgres", s->dir, s->port);
    if (waitpid(test_pg_exec(s, init), &status, 0) < 0 || status != 0)
        test_pg_die(s, "initdb");
    snprintf(hba, sizeof(hba), "%s/pg_hba.conf", s->data);
    f = fopen(hba, "w");
    fputs("local all all trust\nhost all ann 127.0.0.1/32 scram-sha-256\n"
          "host all postgres 127.0.0.1/32 trust\n",
          f);
    fclose(f);
    test_pg_run(s);
}

static inline void test_pg_stop(struct test_pg *s)
{
    char command[128];

    test_pg_kill(s);
    snprintf(command, sizeof(command), "rm -rf -- '%s'", s->dir);
    if (system(command) != 0)
        fprintf(stderr, "test: %s could not be removed\n", s->dir);
}

#endif
