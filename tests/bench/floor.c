/* bench_floor <port> <Redis' port>: the physical limit of a bridge from Redis to SSE on
 * this machine, to which servers are compared. One thread, epoll, RESP by hand, and one
 * send to each reader for all that one read from Redis brought. It checks nothing,
 * authenticates nobody, keeps no log, knows no slow reader (what does not fit into a
 * socket is lost) and must never be used for anything but measuring.
 *
 *   GET /<number> ─▶ SUBSCRIBE thread:t<number>
 *   Redis ─▶ read ─▶ frame once into its topic ─▶ end of the batch: send(topic) × readers
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOPICS (1 << 20)
#define FDS (1 << 20)
#define REDIS_BYTES (4 << 20)
#define TURN_EVENTS 512
#define PARTS 3 /* of a pushed message: its kind, channel, payload */

struct topic {
    int *fds;
    int count, room;
    char *out; /* frames of this batch */
    size_t out_len, out_room;
    bool subscribed, dirty;
};

struct part {
    const char *at;
    size_t len;
};

static struct topic topics[TOPICS];
static struct topic *dirty[TOPICS];
static int dirty_count;
static int topic_of[FDS]; /* -1: has not asked yet */
static int epoll, listener, redis;
static char redis_in[REDIS_BYTES];
static size_t redis_len;

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Cache-Control: no-cache, no-transform\r\n"
                           "Connection: keep-alive\r\nX-Accel-Buffering: no\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

/* --- events ----------------------------------------------------------------------- */

static void topic_frame(struct topic *t, const char *event, size_t len)
{
    size_t need = t->out_len + len + 64;

    if (need > t->out_room) {
        t->out_room = need * 2;
        t->out = realloc(t->out, t->out_room);
        if (!t->out)
            die("realloc");
    }
    t->out_len += (size_t)sprintf(t->out + t->out_len, "%zx\r\ndata: ", len + 8);
    memcpy(t->out + t->out_len, event, len);
    memcpy(t->out + t->out_len + len, "\n\n\r\n", 4);
    t->out_len += len + 4;
    if (!t->dirty)
        dirty[dirty_count++] = t;
    t->dirty = true;
}

static void flush(void)
{
    for (int i = 0; i < dirty_count; i++) {
        struct topic *t = dirty[i];
        for (int j = 0; j < t->count; j++)
            send(t->fds[j], t->out, t->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        t->out_len = 0;
        t->dirty = false;
    }
    dirty_count = 0;
}

/* One element: `$5\r\nhello\r\n` or `:1\r\n`. Answers what stands behind it, or NULL
 * while it is not all there. */
static const char *resp_part(const char *at, const char *end, struct part *ret)
{
    const char *nl = memchr(at, '\n', (size_t)(end - at));

    if (!nl)
        return NULL;
    *ret = (struct part){at + 1, (size_t)(nl - at)};
    if (*at != '$')
        return nl + 1;
    *ret = (struct part){nl + 1, strtoul(at + 1, NULL, 10)};
    return (size_t)(end - ret->at) < ret->len + 2 ? NULL : ret->at + ret->len + 2;
}

static const char *resp_message(const char *at, const char *end)
{
    struct part part[PARTS];

    at = memchr(at, '\n', (size_t)(end - at)); /* *3 */
    for (int i = 0; at && i < PARTS; i++)
        at = resp_part(i == 0 ? at + 1 : at, end, &part[i]);
    if (at && part[0].at[0] == 'm') /* `message`, not `subscribe` */
        topic_frame(&topics[strtoul(part[1].at + strlen("thread:t"), NULL, 10) % TOPICS],
                    part[2].at, part[2].len);
    return at;
}

static void redis_read(void)
{
    ssize_t n = read(redis, redis_in + redis_len, REDIS_BYTES - redis_len);
    const char *at = redis_in, *next;

    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        die("Redis");
    }
    redis_len += (size_t)n;
    while ((next = resp_message(at, redis_in + redis_len)))
        at = next;
    redis_len -= (size_t)(at - redis_in);
    memmove(redis_in, at, redis_len);
    flush();
}

/* --- readers ---------------------------------------------------------------------- */

static void subscribe(unsigned number)
{
    char channel[32], command[96];
    int len = snprintf(channel, sizeof(channel), "thread:t%u", number);

    len = snprintf(command, sizeof(command), "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n",
                   len, channel);
    while (send(redis, command, (size_t)len, MSG_NOSIGNAL) < 0) {
        if (errno !=
            EAGAIN) /* Redis' answers make room: what is read waits in its buffer */
            die("subscribe");
        redis_read();
    }
}

static void reader_ask(int fd, const char *request)
{
    unsigned number = (unsigned)strtoul(request + strlen("GET /"), NULL, 10) % TOPICS;
    struct topic *t = &topics[number];

    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 1;
        t->fds = realloc(t->fds, (size_t)t->room * sizeof(*t->fds));
        if (!t->fds)
            die("realloc");
    }
    t->fds[t->count++] = fd;
    topic_of[fd] = (int)number;
    send(fd, HEAD, sizeof(HEAD) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (!t->subscribed)
        subscribe(number);
    t->subscribed = true;
}

static void reader_gone(int fd)
{
    struct topic *t = topic_of[fd] < 0 ? NULL : &topics[topic_of[fd]];

    for (int i = 0; t && i < t->count; i++) {
        if (t->fds[i] == fd)
            t->fds[i--] = t->fds[--t->count];
    }
    close(fd);
}

static void reader_read(int fd)
{
    char request[8192];
    ssize_t n = read(fd, request, sizeof(request) - 1);

    if (n <= 0) {
        reader_gone(fd);
    } else if (topic_of[fd] < 0) {
        request[n] = '\0';
        reader_ask(fd, request);
    }
}

static void accept_all(void)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        topic_of[fd] = -1;
        watch(fd);
    }
}

static int tcp_socket(int port, bool listens)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (listens ? bind(fd, (void *)&a, sizeof(a)) || listen(fd, 4096)
                : connect(fd, (void *)&a, sizeof(a)))
        die(listens ? "listen" : "Redis");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[TURN_EVENTS];

    if (argc != 3) {
        fprintf(stderr, "usage: bench_floor <port> <Redis' port>\n");
        return 2;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listener = tcp_socket((int)strtol(argv[1], NULL, 10), true);
    redis = tcp_socket((int)strtol(argv[2], NULL, 10), false);
    watch(listener);
    watch(redis);
    for (;;) {
        int n = epoll_wait(epoll, events, TURN_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all();
            else if (events[i].data.fd == redis)
                redis_read();
            else
                reader_read(events[i].data.fd);
        }
    }
}
