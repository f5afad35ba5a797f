/* owners: LISTEN thread_changed ─▶ access_changed ─▶ hub_recheck. A notification is a
 * hint: whatever it holds, Postgres is asked. While the connection was away anything may
 * have changed, so its return has every thread asked about. */
#include "bridge/owners.h"

#include "bridge/access.h"
#include "bridge/bridge.h"
#include "bridge/forget.h"
#include "bridge/hub.h"
#include "common/log.h"
#include "common/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owners {
    struct bridge *bridge;
};

static void recheck(struct bridge *b, const char *thread_id)
{
    access_changed(b, thread_id);
    if (b->hub)
        hub_recheck(b->hub, thread_id);
}

static void on_ready(struct pg *p, void *arg)
{
    struct owners *o = arg;

    (void)p;
    log_info("listening for changes of owners");
    recheck(o->bridge, NULL);
}

static void on_down(struct pg *p, const char *why, void *arg)
{
    struct owners *o = arg;

    (void)p;
    o->bridge->stats.pg_down++;
    log_warn("not listening for changes of owners", LOG_S("why", why));
}

static void on_notify(struct pg *p, const char *channel, const char *payload, void *arg)
{
    struct owners *o = arg;

    (void)p, (void)channel;
    if (!thread_id_valid(payload, strlen(payload))) {
        log_debug("odd notification", LOG_S("payload", payload));
        return;
    }
    recheck(o->bridge, payload);
    forget_thread(o->bridge, payload);
}

struct owners *owners_new(struct bridge *b)
{
    static const struct pg_events events = {on_ready, on_down, on_notify};
    const struct bridge_conf *conf = b->conf;
    char name[64];
    struct owners *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->bridge = b;
    snprintf(name, sizeof(name), "threadcast-bridge:%s:listen", b->instance);
    struct pg_options options = {
        .url = conf->database_listen_url ? conf->database_listen_url : conf->database_url,
        .schema = conf->database_schema,
        .name = name,
        .listen = "thread_changed",
    };
    b->pg_listen = pg_new(b->loop, &options, &events, o);
    if (!b->pg_listen) {
        free(o);
        return NULL;
    }
    return o;
}

void owners_free(struct owners *o)
{
    if (!o)
        return;
    pg_free(o->bridge->pg_listen);
    o->bridge->pg_listen = NULL;
    free(o);
}
