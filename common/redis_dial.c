/* url → resolve → connect, connect, … → fd. Every address gets its share of the time, so
 * that one that swallows packets does not keep us from the next. Never blocks. */
#include "common/redis_dial.h"

#include "common/clock.h"
#include "common/loop.h"
#include "common/redis.h"
#include "common/resolve.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct redis_dial {
    struct event_base *base;
    const struct redis_url *url;
    struct resolve *resolve;
    struct resolve_address addresses[RESOLVE_MAX];
    size_t count, next;
    int fd;
    struct event *ev; /* of fd; re-made for each address */
    int64_t until_ms;
    char why[320];
    redis_dial_fn *fn;
    void *arg;
};

static void dial_step(struct redis_dial *d);

static void dial_close(struct redis_dial *d)
{
    if (d->ev)
        event_free(d->ev);
    d->ev = NULL;
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static void dial_destroy(struct redis_dial *d)
{
    resolve_cancel(d->resolve);
    dial_close(d);
    free(d);
}

static void dial_finish(struct redis_dial *d)
{
    struct redis_dial last = *d;

    d->fd = -1; /* handed over */
    d->resolve = NULL;
    dial_destroy(d);
    last.fn(last.fd, last.fd < 0 ? last.why : NULL, last.arg);
}

static void dial_failed(struct redis_dial *d, const char *what)
{
    char text[RESOLVE_TEXT_SIZE];

    resolve_text(&d->addresses[d->next - 1], true, text);
    snprintf(d->why, sizeof(d->why), "connect %s: %s", text, what);
    dial_close(d);
}

/* A half-open peer is noticed within 10 s: 3 + 3 × 2 s when idle, 8 s when writing. Linux
 * gives an idle one up at the first probe behind the user timeout, however many there
 * were. */
static void socket_options(int fd)
{
    const int on = 1, idle_s = 3, interval_s = 2, probes = 3;
    const unsigned user_timeout_ms = 8000;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
               sizeof(user_timeout_ms));
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct redis_dial *d = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    if (what & EV_TIMEOUT)
        error = ETIMEDOUT;
    else if (getsockopt((int)fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error) {
        dial_failed(d, strerror(error));
        dial_step(d);
        return;
    }
    dial_finish(d);
}

static bool dial_connect(struct redis_dial *d, const struct resolve_address *a)
{
    int64_t left_ms = d->until_ms - clock_ms();
    struct timeval share;

    left_ms = left_ms > 0 ? left_ms / (int64_t)(d->count - d->next + 1) : 0;
    if (left_ms < 10)
        left_ms = 10;
    share.tv_sec = left_ms / 1000;
    share.tv_usec = left_ms % 1000 * 1000;
    d->fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->fd < 0)
        goto fail;
    if (a->addr.ss_family != AF_UNIX)
        socket_options(d->fd);
    if (connect(d->fd, (const struct sockaddr *)&a->addr, a->len) < 0 &&
        errno != EINPROGRESS)
        goto fail;
    d->ev = event_new(d->base, d->fd, EV_WRITE, on_socket, d);
    if (!d->ev || event_add(d->ev, &share) < 0) {
        errno = ENOMEM;
        goto fail;
    }
    return true;
fail:
    dial_failed(d, strerror(errno));
    return false;
}

/* Tries the next address that can be tried at all. */
static void dial_step(struct redis_dial *d)
{
    while (d->next < d->count) {
        const struct resolve_address *a = &d->addresses[d->next++];
        if (dial_connect(d, a))
            return;
    }
    dial_finish(d);
}

static void on_resolved(const struct resolve_address *addresses, size_t count,
                        const char *why, void *arg)
{
    struct redis_dial *d = arg;

    d->resolve = NULL;
    if (count == 0)
        snprintf(d->why, sizeof(d->why), "resolve %s: %s", d->url->host, why);
    else
        memcpy(d->addresses, addresses, count * sizeof(*addresses));
    d->count = count;
    dial_step(d);
}

static void on_unix(evutil_socket_t fd, short what, void *arg)
{
    struct redis_dial *d = arg;

    (void)fd;
    (void)what;
    event_free(d->ev);
    d->ev = NULL;
    dial_step(d);
}

/* The path's length was checked when the URL was read. */
static bool dial_unix(struct redis_dial *d)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", d->url->unix_path);
    memcpy(&d->addresses[0].addr, &un, sizeof(un));
    d->addresses[0].len = sizeof(un);
    d->count = 1;
    d->ev = event_new(d->base, -1, 0, on_unix, d);
    if (!d->ev)
        return false;
    event_active(d->ev, EV_TIMEOUT, 0);
    return true;
}

struct redis_dial *redis_dial_start(struct loop *l, const struct redis_url *url,
                                    int64_t budget_ms, redis_dial_fn *fn, void *arg)
{
    struct redis_dial *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->base = loop_base(l);
    d->url = url;
    d->fd = -1;
    d->until_ms = clock_ms() + budget_ms;
    d->fn = fn;
    d->arg = arg;
    if (url->unix_path) {
        if (!dial_unix(d))
            goto fail;
    } else {
        d->resolve = resolve_start(l, url->host, url->port, on_resolved, d);
        if (!d->resolve)
            goto fail;
    }
    return d;
fail:
    dial_destroy(d);
    return NULL;
}

void redis_dial_cancel(struct redis_dial *d)
{
    if (d)
        dial_destroy(d);
}
