/* The way up: retry timer ─▶ (sentinels) ─▶ dial ─▶ bufferevent (plain or TLS) ─▶
 * handshake ─▶ READY, all of it within connect_ms. Never goes down by itself: that is
 * redis_lose's. */
#include "common/redis_internal.h"

#include "common/clock.h"
#include "common/redis_dial.h"
#include "common/redis_reply.h"
#include "common/redis_sentinel.h"
#include "common/redis_tls.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct redis *r = arg;
    int error = EVUTIL_SOCKET_ERROR();
    char why[200];

    redis_enter(r);
    if (what & BEV_EVENT_CONNECTED) {
        redis_handshake_start(r);
    } else if (what & BEV_EVENT_EOF) {
        redis_lose(r, "closed by Redis");
    } else if (r->opt.url->tls) {
        redis_tls_why(bev, why, sizeof(why));
        redis_lose(r, "%s", why);
    } else {
        redis_lose(r, "%s", strerror(error));
    }
    redis_leave(r);
}

static struct bufferevent *bufferevent_make(struct redis *r, int fd, char *why,
                                            size_t size)
{
    struct event_base *base = loop_base(r->loop);
    struct bufferevent *bev;
    SSL *ssl;

    snprintf(why, size, "no memory");
    if (!r->opt.url->tls)
        return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!r->tls)
        r->tls = redis_tls_context(r->opt.tls_ca_file, why, size);
    ssl = r->tls ? redis_tls_session(r->tls, r->at.host) : NULL;
    if (!ssl)
        return NULL;
    bev = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_CONNECTING,
                                         BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        SSL_free(ssl);
    return bev;
}

/* Reading begins; true: the handshake may, too. */
static bool input_start(struct redis *r, int fd)
{
    bool tls = r->opt.url->tls;

    bufferevent_setcb(r->bev, redis_on_records, NULL, on_event, r);
    bufferevent_enable(r->bev, tls ? EV_READ | EV_WRITE : EV_WRITE);
    if (tls)
        return false; /* when its own is over */
    r->readable =
        event_new(loop_base(r->loop), fd, EV_READ | EV_PERSIST, redis_on_readable, r);
    if (r->readable && event_add(r->readable, NULL) == 0)
        return true;
    redis_lose(r, "no memory");
    return false;
}

static void on_dialed(int fd, const char *failure, void *arg)
{
    struct redis *r = arg;
    char why[200];

    redis_enter(r);
    r->dial = NULL;
    if (fd < 0) {
        redis_lose(r, "%s", failure);
    } else if (!(r->bev = bufferevent_make(r, fd, why, sizeof(why)))) {
        close(fd);
        redis_lose(r, "%s", why);
    } else if (input_start(r, fd)) {
        redis_handshake_start(r);
    }
    redis_leave(r);
}

static void dial(struct redis *r)
{
    if (redis_reader_reset(r->reader))
        r->dial = redis_dial_start(r->loop, &r->at, r->opt.connect_ms, on_dialed, r);
    if (!r->dial)
        redis_lose(r, "no memory");
}

void redis_on_retry(void *arg)
{
    struct redis *r = arg;

    redis_enter(r);
    r->state = REDIS_CONNECTING;
    timer_start(r->connect, r->opt.connect_ms);
    if (r->sentinel)
        redis_sentinel_ask(r);
    else
        dial(r);
    redis_leave(r);
}

void redis_found(struct redis *r, const char *host, int port)
{
    r->seeking = false;
    free(r->at.host);
    r->at.host = strdup(host);
    r->at.port = port;
    if (r->at.host)
        dial(r);
    else
        redis_lose(r, "no memory");
}

void redis_on_connect_timeout(void *arg)
{
    struct redis *r = arg;

    redis_enter(r);
    r->counters.timeouts++;
    redis_lose(r, "%s for %lld ms",
               r->seeking                     ? "no answer of a sentinel"
               : r->dial                      ? "no connection"
               : r->state == REDIS_CONNECTING ? "tls: no handshake"
                                              : "no answer to the handshake",
               (long long)r->opt.connect_ms);
    redis_leave(r);
}

void redis_ready(struct redis *r)
{
    timer_stop(r->connect);
    r->state = REDIS_READY;
    r->told = 0;
    r->ready_ms = clock_ms();
    if (r->counters.ready++ > 0)
        r->counters.reconnects++;
    if (r->ev.on_ready)
        r->ev.on_ready(r, r->arg);
}
