/* bridge: makes one reactor and reads as its schedule:
 *
 *   libevent turn: sockets, Redis, Postgres, timers
 *   end of turn:   clients_flush (one write a client) ─▶ reaper_run (frees)
 *
 * SIGTERM: /readyz fails at once; after --shutdown-delay-ms it accepts no more, says
 * `bye` to everybody over --drain-ms, and ends when the last stream and request are gone.
 */
#include "bridge/bridge.h"

#include "bridge/auth.h"
#include "bridge/clients.h"
#include "bridge/conn.h"
#include "bridge/feed.h"
#include "bridge/forget.h"
#include "bridge/hub.h"
#include "bridge/listener.h"
#include "bridge/owners.h"
#include "bridge/publisher.h"
#include "bridge/rate.h"
#include "bridge/reader.h"
#include "bridge/watch.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"

#include <stdio.h>
#include <stdlib.h>

enum { DRAIN_CHECK_MS = 20, DRAIN_GRACE_MS = 1000 };

static void on_turn_end(void *arg)
{
    struct bridge *b = arg;
    clients_flush(b->clients);
    reaper_run(b->clients);
}

static void stop_when_empty(void *arg)
{
    struct bridge *b = arg;
    if ((clients_empty(b->clients) && !conns_count(b)) || clock_ms() > b->stop_at_ms)
        loop_stop(b->loop);
    else
        timer_start(b->drain_check, DRAIN_CHECK_MS);
}

static void stop_accepting(void *arg)
{
    struct bridge *b = arg;
    listener_free(b->listener);
    b->listener = NULL;
    conns_drain(b);
    clients_drain(b->clients, b->conf->drain_ms);
    b->stop_at_ms = clock_ms() + b->conf->drain_ms + DRAIN_GRACE_MS;
    stop_when_empty(b);
}

static void on_drain(void *arg)
{
    struct bridge *b = arg;
    b->draining = true;
    log_info("draining", LOG_I("streams", b->stats.clients));
    timer_start(b->shutdown_delay, b->conf->shutdown_delay_ms);
}

static void on_postgres(bool ready, const char *why, void *arg)
{
    (void)arg;
    if (ready)
        log_info("postgres connected");
    else
        log_warn("postgres lost", LOG_S("why", why));
}

static bool make_postgres(struct bridge *b)
{
    const struct bridge_conf *conf = b->conf;
    if (!conf->database_url)
        return true;
    char name[64];
    snprintf(name, sizeof(name), "threadcast-bridge:%s", b->instance);
    struct pg_options o = {
        .url = conf->database_url, .schema = conf->database_schema, .name = name};
    b->pg = pg_pool_new(b->loop, &o, (int)conf->database_pool);
    if (b->pg)
        pg_pool_on_change(b->pg, on_postgres, b);
    b->owners = b->pg ? owners_new(b) : NULL;
    return b->owners;
}

static bool make_parts(struct bridge *b)
{
    return (b->clients = clients_new(b)) && (b->hub = hub_new(b)) &&
           (b->reader = reader_new(b)) && (b->publisher = publisher_new(b)) &&
           (b->feed = feed_new(b)) && (b->watch = watch_new(b)) && make_postgres(b);
}

struct bridge *bridge_new(const struct bridge_conf *conf, struct auth *auth,
                          const struct statics *statics, struct buf *err)
{
    struct bridge *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->conf = conf;
    b->auth = auth;
    b->statics = statics;
    list_init(&b->forgetting);
    instance_new(b->instance);
    b->loop = loop_new_coarse();
    if (b->loop) {
        conns_init(b);
        b->shutdown_delay = timer_new(b->loop, stop_accepting, b);
        b->drain_check = timer_new(b->loop, stop_when_empty, b);
    }
    if (!b->loop || !b->shutdown_delay || !b->drain_check || !make_parts(b) ||
        !loop_signals(b->loop, on_drain, NULL, b)) {
        buf_str(err, "out of memory, or a connection could not be made");
        goto fail;
    }
    loop_on_turn_end(b->loop, on_turn_end, b);
    b->listener = listener_new(b, conf->listen, err);
    if (!b->listener)
        goto fail;
    return b;

fail:
    bridge_free(b);
    return NULL;
}

void bridge_free(struct bridge *b)
{
    if (!b)
        return;
    /* who still waits for an answer gets its NULL while what it points to is there */
    listener_free(b->listener);
    conns_fini(b);
    forget_free(b);
    watch_free(b->watch);
    reader_close(b->reader);
    publisher_free(b->publisher);
    owners_free(b->owners);
    pg_pool_free(b->pg);
    clients_free(b->clients);
    feed_free(b->feed);
    hub_free(b->hub);
    reader_free(b->reader);
    rate_free(b->guests);
    timer_free(b->shutdown_delay);
    timer_free(b->drain_check);
    if (b->loop)
        loop_free(b->loop);
    free(b);
}

void bridge_run(struct bridge *b)
{
    loop_run(b->loop);
    log_info("stopped", LOG_I("streams", b->stats.clients));
}
