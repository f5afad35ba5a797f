/* bridge: makes one reactor and reads as its schedule:
 *
 *   libevent turn: sockets, Redis, Postgres, timers, letters of other reactors
 *   end of turn:   clients_flush (one write a client) ─▶ reaper_run (frees)
 *
 * bridge_drain: /readyz fails at once; after --shutdown-delay-ms it accepts no more, says
 * `bye` to everybody over --drain-ms, and is over when the last stream and request are
 * gone.
 */
#include "bridge/bridge.h"

#include "bridge/auth.h"
#include "bridge/authorize.h"
#include "bridge/clients.h"
#include "bridge/conn.h"
#include "bridge/feed.h"
#include "bridge/forget.h"
#include "bridge/hub.h"
#include "bridge/keyring.h"
#include "bridge/keywait.h"
#include "bridge/legacy.h"
#include "bridge/listener.h"
#include "bridge/owners.h"
#include "bridge/probe.h"
#include "bridge/publisher.h"
#include "bridge/reactors.h"
#include "bridge/reader.h"
#include "bridge/revoke.h"
#include "bridge/static.h"
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
    reaper_run(b->clients, REAPED_A_TURN + b->clients->dying / REAPED_PART);
    listener_turn_end(b->listener);
    listener_turn_end(b->admin);
}

static void stop_when_empty(void *arg)
{
    struct bridge *b = arg;
    bool empty =
        !atomic_load(&b->arriving) && clients_empty(b->clients) && !conns_count(b);
    if (empty || clock_ms() > b->stop_at_ms)
        reactors_empty(b);
    else
        timer_start(b->drain_check, DRAIN_CHECK_MS);
}

static void stop_accepting(void *arg)
{
    struct bridge *b = arg;
    listener_take_rest(b->listener);
    listener_free(b->listener);
    b->listener = NULL;
    b->leaving = true;
    conns_drain(b);
    clients_drain(b->clients, b->conf->drain_ms);
    b->stop_at_ms = clock_ms() + b->conf->drain_ms + DRAIN_GRACE_MS;
    stop_when_empty(b);
}

void bridge_drain(struct bridge *b)
{
    b->draining = true;
    timer_start(b->shutdown_delay, b->conf->shutdown_delay_ms);
}

static void on_postgres(bool ready, const char *why, void *arg)
{
    struct bridge *b = arg;
    if (ready)
        log_info("postgres connected", LOG_I("reactor", b->number));
    else
        log_warn("postgres lost", LOG_S("why", why), LOG_I("reactor", b->number));
}

/* Its part of --database-pool, at least one. */
static int pool_share(const struct bridge *b)
{
    int64_t all = b->conf->database_pool, count = (int64_t)b->reactors->count;
    int64_t share = all / count + (b->number < all % count);
    return share ? (int)share : 1;
}

static bool make_postgres(struct bridge *b)
{
    const struct bridge_conf *conf = b->conf;
    if (!conf->database_url)
        return true;
    char name[64];
    snprintf(name, sizeof(name), "threadcast-bridge:%s", b->instance);
    struct pg_options o = {.url = conf->database_url,
                           .schema = conf->database_schema,
                           .schema_version = SCHEMA_VERSION,
                           .pooled = conf->database_listen_url != NULL,
                           .name = name};
    b->pg = pg_pool_new(b->loop, &o, pool_share(b));
    if (!b->pg)
        return false;
    pg_pool_on_change(b->pg, on_postgres, b);
    if (b->number)
        return true; /* number 0 listens, and tells */
    b->owners = owners_new(b);
    return b->owners;
}

static bool make_parts(struct bridge *b)
{
    return (b->clients = clients_new(b)) && (b->hub = hub_new(b)) &&
           (b->reader = reader_new(b)) && (b->publisher = publisher_new(b)) &&
           (b->feed = feed_new(b)) && (b->watch = watch_new(b)) && make_postgres(b) &&
           (b->number || !b->revoked || (b->revoker = revoker_new(b)));
}

/* Number 0 keeps the keys that all check with. */
static bool make_auth(struct bridge *b, struct buf *err)
{
    b->auth = auth_copy(b->reactors->auth);
    b->keywait = keywait_new(b);
    if (!b->auth || !b->keywait) {
        buf_str(err, "out of memory");
        return false;
    }
    if (b->conf->authorize_url && !(b->authorize = authorize_new(b, err)))
        return false;
    if (b->number || b->conf->auth == AUTH_MODE_NONE)
        return true;
    b->keyring = keyring_new(b, err);
    return b->keyring;
}

static bool make_loop(struct bridge *b)
{
    b->loop = loop_new_coarse();
    if (!b->loop)
        return false;
    conns_init(b);
    b->mailbox = mailbox_new(b->loop);
    b->shutdown_delay = timer_new(b->loop, stop_accepting, b);
    b->drain_check = timer_new(b->loop, stop_when_empty, b);
    return b->mailbox && b->shutdown_delay && b->drain_check;
}

struct bridge *bridge_new(struct reactors *rs, size_t number,
                          const struct bridge_places *at, struct buf *err)
{
    struct bridge *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->reactors = rs;
    b->number = (unsigned)number;
    b->conf = rs->conf;
    b->statics = rs->files->app;
    b->client_files = rs->files->client;
    b->limits = rs->limits;
    b->gather = rs->gather;
    b->revoked = rs->revoked;
    list_init(&b->empty.node);
    list_init(&b->forgetting);
    list_init(&b->probes);
    snprintf(b->instance, sizeof(b->instance), "%s-%u", rs->instance,
             b->number % REACTORS_MAX);
    if (!make_loop(b) || !make_parts(b)) {
        buf_str(err, "out of memory, or a connection could not be made");
        goto fail;
    }
    if (!make_auth(b, err))
        goto fail;
    loop_on_turn_end(b->loop, on_turn_end, b);
    b->listener = listener_new(b, at->listen, false, err);
    if (!b->listener)
        goto fail;
    if (at->admin && !(b->admin = listener_new(b, at->admin, true, err)))
        goto fail;
    return b;

fail:
    bridge_close(b);
    bridge_free(b);
    return NULL;
}

/* Who still waits for an answer gets its NULL while what it points to is there. */
void bridge_close(struct bridge *b)
{
    listener_free(b->listener);
    listener_free(b->admin);
    keyring_close(b->keyring);
    keywait_close(b->keywait);
    authorize_close(b->authorize);
    if (b->loop)
        conns_fini(b);
    forget_free(b);
    watch_free(b->watch);
    reader_close(b->reader);
    publisher_free(b->publisher);
    owners_free(b->owners);
    revoker_free(b->revoker);
    b->revoker = NULL;
    pg_pool_free(b->pg);
    probes_end(b);
    clients_free(b->clients);
    b->clients = NULL; /* letters of the others may still come (revoke.c) */
    legacy_free(b->legacy);
    feed_free(b->feed);
    b->publisher = NULL;
    b->pg = NULL;
}

void bridge_free(struct bridge *b)
{
    hub_free(b->hub);
    reader_free(b->reader);
    keyring_free(b->keyring);
    keywait_free(b->keywait);
    authorize_free(b->authorize);
    auth_free(b->auth);
    timer_free(b->shutdown_delay);
    timer_free(b->drain_check);
    mailbox_free(b->mailbox);
    if (b->loop)
        loop_free(b->loop);
    free(b);
}
