/* The peer of a connection, over a socket pair and a real loop; for tests of conn. */
#ifndef THREADCAST_TEST_CONN_PEER_H
#define THREADCAST_TEST_CONN_PEER_H

#include "bridge/conn.h"

#include "bridge/bridge.h"
#include "bridge/limits.h"
#include "bridge/metrics.h"
#include "bridge/reactors.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "torture.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define H "Host: localhost\r\n"
#define HEALTH "GET /healthz HTTP/1.1\r\n" H "\r\n"
#define PATIENCE_MS 10000

static struct bridge_conf conf;
static struct bridge bridge, *only[] = {&bridge};
static struct report report;
static struct reactors reactors = {.conf = &conf,
                                   .reports = &report,
                                   .all = only,
                                   .count = 1,
                                   .lock = PTHREAD_MUTEX_INITIALIZER};

/* The other end of a connection. */
struct peer {
    int fd;
    struct buf got;
    bool eof, error;
};

static inline int setup(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    conf = (struct bridge_conf){.hang_ms = 60000,
                                .request_timeout_ms = 5000,
                                .idle_timeout_ms = 5000,
                                .write_stall_ms = 5000,
                                .max_connections = 10};
    bridge = (struct bridge){.reactors = &reactors,
                             .conf = &conf,
                             .limits = limits_new(&conf, 0),
                             .loop = loop_new()};
    conns_init(&bridge);
    return bridge.loop ? 0 : -1;
}

static inline int teardown(void **state)
{
    (void)state;
    conns_fini(&bridge);
    loop_free(bridge.loop);
    limits_free(bridge.limits);
    return bridge.conn_count == 0 && bridge.stats.connections == 0 ? 0 : -1;
}

static inline struct peer peer_new(void)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNIX};
    struct peer p = {0};
    int fds[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
    p.fd = fds[0];
    conn_accept(&bridge, fds[1], &nobody, sizeof nobody, false);
    return p;
}

static inline void peer_free(struct peer *p)
{
    close(p->fd);
    buf_fini(&p->got);
}

static inline void peer_read(struct peer *p)
{
    char bytes[4096];
    ssize_t n;

    while ((n = recv(p->fd, bytes, sizeof bytes, 0)) > 0)
        buf_add(&p->got, bytes, (size_t)n);
    p->eof = p->eof || n == 0;
    p->error = p->error || (n < 0 && errno != EAGAIN);
}

/* --- running the loop until something is so --- */

struct pump {
    struct peer *peer;
    bool (*done)(struct peer *p, const void *arg);
    const void *arg;
    struct timer *tick;
    int64_t until_ms;
    bool ok;
};

static inline void on_tick(void *arg)
{
    struct pump *u = arg;

    if (u->peer)
        peer_read(u->peer);
    if ((u->ok = u->done(u->peer, u->arg)) || clock_ms() > u->until_ms)
        loop_stop(bridge.loop);
    else
        timer_start(u->tick, 1);
}

static inline bool pump_for(struct peer *p, bool (*done)(struct peer *, const void *),
                            const void *arg, int64_t ms)
{
    struct pump u = {p,
                     done,
                     arg,
                     timer_new(bridge.loop, on_tick, &u),
                     clock_ms() + torture_patience_ms(ms),
                     false};

    assert_non_null(u.tick);
    timer_start(u.tick, 0);
    loop_run(bridge.loop);
    timer_free(u.tick);
    return u.ok;
}

static inline bool is_closed(struct peer *p, const void *arg)
{
    (void)arg;
    return p->eof || p->error;
}

static inline bool has_text(struct peer *p, const void *text)
{
    return p->got.data && strstr(p->got.data, text);
}

static inline size_t answers(const struct peer *p)
{
    size_t n = 0;

    for (const char *at = p->got.data; at && (at = strstr(at, "HTTP/1.1 ")); at += 9)
        n++;
    return n;
}

static inline bool has_answers(struct peer *p, const void *count)
{
    return answers(p) >= *(const size_t *)count && p->got.data[p->got.len - 1] == '\n';
}

static inline bool no_conns(struct peer *p, const void *arg)
{
    (void)p;
    (void)arg;
    return bridge.conn_count == 0;
}

#define pump(p, done, arg) assert_true(pump_for((p), (done), (arg), PATIENCE_MS))

static inline void peer_send(struct peer *p, const char *data, size_t len)
{
    assert_int_equal(send(p->fd, data, len, MSG_NOSIGNAL), len);
}

static inline void peer_say(struct peer *p, const char *text)
{
    peer_send(p, text, strlen(text));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
