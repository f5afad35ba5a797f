/* announce: one small statement each half lease; who has not said it for two has gone. It
 * must never hold up a run: nothing waits for it. */
#include "worker/announce.h"

#include "common/buf.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "worker/agent.h"
#include "worker/agents.h"
#include "worker/conf.h"
#include "worker/store.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

enum { AGAIN_MAX_MS = 2000 };

struct announce {
    struct worker *w;
    struct timer *timer;
    struct backoff backoff;
    bool asking, changed, leaving, warned;
};

static void add_agents(const struct agents *agents, struct buf *out)
{
    const struct agent_def *def;

    buf_char(out, '[');
    for (size_t i = 0; (def = agents_at(agents, i)); i++) {
        buf_str(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        buf_json(out, def->name, strlen(def->name));
        buf_str(out, ",\"description\":");
        if (def->description)
            buf_json(out, def->description, strlen(def->description));
        else
            buf_str(out, "null");
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

static void on_said(enum pg_outcome outcome, const struct pg_result *res,
                    const struct pg_error *err, void *arg);

static void say(struct announce *a)
{
    const struct agents *agents = a->w->agents;
    struct buf json;

    if (a->asking)
        return;
    buf_init(&json);
    add_agents(agents, &json);
    a->changed = false;
    if (a->leaving)
        a->asking = store_forget_worker(a->w, on_said, a);
    else if (!json.failed)
        a->asking = store_register_worker(a->w, agents_find(agents, "default")->name,
                                          json.data, on_said, a);
    if (!a->asking && !a->leaving)
        timer_start(a->timer, backoff_next(&a->backoff, AGAIN_MAX_MS));
    buf_fini(&json);
}

static void on_said(enum pg_outcome outcome, const struct pg_result *res,
                    const struct pg_error *err, void *arg)
{
    struct announce *a = arg;

    (void)res;
    a->asking = false;
    if (outcome == PG_FAILED && !a->warned)
        log_warn("agents cannot be announced", LOG_S("sqlstate", err->sqlstate),
                 LOG_S("why", err->message));
    a->warned = outcome == PG_FAILED;
    if (outcome == PG_OK)
        backoff_reset(&a->backoff);
    if (a->changed && outcome == PG_OK)
        say(a);
    else if (a->changed || !a->leaving)
        timer_start(a->timer, outcome == PG_OK ? a->w->conf->lease_ms / 2
                                               : backoff_next(&a->backoff, AGAIN_MAX_MS));
}

static void on_timer(void *arg)
{
    say(arg);
}

struct announce *announce_new(struct worker *w)
{
    struct announce *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->w = w;
    a->timer = timer_new(w->loop, on_timer, a);
    if (!a->timer) {
        free(a);
        return NULL;
    }
    timer_start(a->timer, 0);
    return a;
}

void announce_free(struct announce *a)
{
    if (!a)
        return;
    timer_free(a->timer);
    free(a);
}

void announce_now(struct announce *a)
{
    a->changed = true; /* also when it is just being said */
    say(a);
}

void announce_leave(struct announce *a)
{
    a->leaving = true;
    timer_stop(a->timer);
    announce_now(a);
}
