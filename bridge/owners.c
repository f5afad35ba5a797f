/* owners: LISTEN thread_changed ─▶ in every reactor: access_changed ─▶ hub_recheck. A
 * notification is a hint: whatever it holds, Postgres is asked. While the connection was
 * away anything may have changed, so its return has every thread asked about. */
#include "bridge/owners.h"

#include "bridge/access.h"
#include "bridge/bridge.h"
#include "bridge/forget.h"
#include "bridge/hub.h"
#include "bridge/round.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "common/pg_hear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 500 };

struct owners {
    struct bridge *bridge;
    struct pg_hear *hear;
    struct timer *again; /* runs when a change could not be told */
};

/* The thread, "": any. */
struct change {
    char thread_id[THREAD_ID_MAX + 1];
};

static void recheck_one(struct round_part *part)
{
    const struct change *change = part->question;
    const char *thread_id = change->thread_id[0] ? change->thread_id : NULL;

    access_changed(part->bridge, thread_id);
    if (part->bridge->hub)
        hub_recheck(part->bridge->hub, thread_id);
    round_answer(part);
}

/* When a reactor could not be told (no memory, or it hangs and has enough to do),
 * everything is asked about as soon as all of them can be. */
static void recheck(struct owners *o, const char *thread_id)
{
    static const struct round_kind kind = {
        .question_size = sizeof(struct change), .bounded = true, .each = recheck_one};
    struct change change = {""};

    if (thread_id)
        snprintf(change.thread_id, sizeof(change.thread_id), "%s", thread_id);
    if (!round_ask(o->bridge, &kind, &change, NULL))
        timer_start(o->again, AGAIN_MS);
}

static void on_again(void *arg)
{
    struct owners *o = arg;

    if (round_room(o->bridge))
        recheck(o, NULL);
    else
        timer_start(o->again, AGAIN_MS);
}

static void on_ready(struct pg *p, void *arg)
{
    struct owners *o = arg;

    log_info("listening for changes of owners");
    pg_hear_start(o->hear, p);
    recheck(o, NULL);
}

static void on_down(struct pg *p, const char *why, void *arg)
{
    struct owners *o = arg;

    (void)p;
    pg_hear_stop(o->hear);
    o->bridge->stats.pg_down++;
    log_warn("not listening for changes of owners", LOG_S("why", why));
}

static void on_notify(struct pg *p, const char *channel, const char *payload, void *arg)
{
    struct owners *o = arg;

    (void)p;
    if (pg_hear_notify(o->hear, channel, payload))
        return;
    if (!thread_id_valid(payload, strlen(payload))) {
        log_debug("odd notification", LOG_S("payload", payload));
        return;
    }
    recheck(o, payload);
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
        .pooled = conf->database_listen_url != NULL,
        .listen = "thread_changed," PG_HEAR_CHANNEL,
    };
    o->again = timer_new(b->loop, on_again, o);
    o->hear = pg_hear_new(b->loop, b->pg, conf->database_schema);
    if (o->again && o->hear)
        b->pg_listen = pg_new(b->loop, &options, &events, o);
    if (b->pg_listen)
        return o;
    owners_free(o);
    return NULL;
}

bool owners_listening(const struct owners *o)
{
    return pg_state(o->bridge->pg_listen) == PG_READY && pg_hear_proven(o->hear);
}

void owners_free(struct owners *o)
{
    if (!o)
        return;
    if (o->bridge->pg_listen)
        pg_free(o->bridge->pg_listen);
    pg_hear_free(o->hear);
    timer_free(o->again);
    o->bridge->pg_listen = NULL;
    free(o);
}
