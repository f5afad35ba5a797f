/* alive: a connection for this one key, so that neither a full publisher nor a silent
 * subscriber can make a living worker look dead. It must never say so for a worker whose
 * loop stands still: the key is renewed by the loop's own timer. */
#include "worker/alive.h"

#include "common/log.h"
#include "common/loop.h"
#include "common/names.h"
#include "common/redis.h"
#include "worker/conf.h"
#include "worker/killpoint.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEAVE_MS = 500 };

struct alive {
    struct worker *w;
    struct redis *redis;
    struct timer *timer; /* to the next renewal; while leaving: no longer than this */
    char key[NAMES_PREFIX_MAX + 64];
    char lease[24];
    bool warned;             /* since it last worked */
    void (*done)(void *arg); /* leaving */
    void *arg;
};

static void left(struct alive *a)
{
    void (*done)(void *arg) = a->done;

    a->done = NULL;
    timer_stop(a->timer);
    if (done)
        done(a->arg);
}

static void on_set(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct alive *a = arg;

    (void)r;
    if (!reply)
        return;
    if (reply->type == REDIS_FAILURE && !a->warned)
        log_warn("redis refuses the worker's key", LOG_S("why", reply->str));
    a->warned = reply->type == REDIS_FAILURE;
}

static void on_deleted(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r, (void)reply; /* lost: the lease does it */
    left(arg);
}

static void announce(struct alive *a)
{
    if (redis_state(a->redis) == REDIS_READY &&
        redis_sendv(a->redis, on_set, a, "SET", a->key, "1", "PX", a->lease, NULL))
        KILL_POINT("alive-sent");
    timer_start(a->timer, a->w->conf->lease_ms / 3);
}

static void on_timer(void *arg)
{
    struct alive *a = arg;

    if (a->done)
        left(a);
    else
        announce(a);
}

static void on_ready(struct redis *r, void *arg)
{
    struct alive *a = arg;

    (void)r;
    if (!a->done)
        announce(a);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    struct alive *a = arg;

    (void)r;
    if (!a->warned)
        log_warn("redis lost", LOG_S("connection", "alive"), LOG_S("why", why));
    a->warned = true;
}

struct alive *alive_new(struct worker *w)
{
    static const struct redis_events events = {.on_ready = on_ready, .on_down = on_down};
    struct alive *a = calloc(1, sizeof(*a));
    char name[64];
    struct redis_options o = {
        .url = &w->conf->redis, .name = name, .tls_ca_file = w->conf->tls_ca_file};

    if (!a)
        return NULL;
    a->w = w;
    snprintf(a->key, sizeof(a->key), "%sthreadcast:worker:%s", w->conf->redis_prefix,
             w->instance);
    snprintf(a->lease, sizeof(a->lease), "%lld", (long long)w->conf->lease_ms);
    snprintf(name, sizeof(name), "threadcast-worker:%s:alive", w->instance);
    a->timer = timer_new(w->loop, on_timer, a);
    if (a->timer)
        a->redis = redis_new(w->loop, &o, &events, a);
    if (a->redis)
        return a;
    alive_free(a);
    return NULL;
}

void alive_free(struct alive *a)
{
    if (!a)
        return;
    a->done = NULL;
    if (a->redis)
        redis_free(a->redis);
    timer_free(a->timer);
    free(a);
}

void alive_leave(struct alive *a, void (*done)(void *arg), void *arg)
{
    if (a->done)
        return;
    a->done = done;
    a->arg = arg;
    if (redis_state(a->redis) == REDIS_READY &&
        redis_sendv(a->redis, on_deleted, a, "DEL", a->key, NULL))
        timer_start(a->timer, LEAVE_MS);
    else
        left(a);
}
