/* watch: a slow round over the topics.
 *
 *   quiet 5 s, a run may be live ─▶ live_ask ─▶ worker silent ─▶ `stalled` to its readers
 *                                                └─ a foreign one ─▶ end it, once
 *                             └─ Redis came back ─▶ has its end been forgotten there?
 *   quiet for --verify-ms ─▶ fill: is there an event in the log that the feed never
 * showed?
 *
 * A worker's key expires a lease after it was last renewed, so a key that is gone means a
 * lease of silence, unless Redis itself was away: then nothing is said for a lease. */
#include "bridge/watch.h"

#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/forgotten.h"
#include "bridge/hub.h"
#include "bridge/live.h"
#include "bridge/publisher.h"
#include "bridge/reader.h"
#include "common/clock.h"
#include "common/event.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/strmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUND_MS = 1000,
    QUIET_MS = 5000,
    /* questions a round: a quarter of the topics and a few, so that ten thousand readers
     * who came together do not have Redis asked about all of them at once */
    ROUND_SHARE = 4,
    ROUND_FEW = 64,
};

struct watch {
    struct bridge *bridge;
    size_t budget; /* questions left in this round */
    size_t pos;    /* where it ended, in the hub's topics: the next one goes on there */
    struct timer *round;
    int64_t redis_since_ms; /* READY since; 0: not */
};

/* The publisher of a run without a Postgres row calls itself "sdk:…". */
static bool is_foreign(const struct live_run *run)
{
    return strncmp(run->worker, "sdk:", 4) == 0;
}

static void on_ended(const struct publish_answer *answer, void *arg)
{
    struct bridge *b = arg;
    if (answer->outcome == PUBLISH_OK)
        b->stats.runs_ended_lost++;
}

/* Whoever notices first ends it; for the others the script has ENDED. */
static void end_foreign(struct topic *t, const struct live_run *run)
{
    struct bridge *b = t->hub->bridge;
    static const char content[] =
        "{\"code\":\"worker_lost\",\"message\":\"The publisher of this answer is gone.\","
        "\"retryable\":true}";
    struct event_run names = {.thread_id = t->thread_id,
                              .run_id = run->run_id,
                              .agent_id = run->worker,
                              .message_id = run->run_id,
                              .attempt = run->attempt};
    struct buf json;
    buf_init(&json);
    event_json(&json, &names, EVENT_ERROR, content, sizeof(content) - 1, clock_wall_ms());
    if (!json.failed) {
        log_warn("run ended for its silent publisher", LOG_S("thread", t->thread_id),
                 LOG_S("run", run->run_id), LOG_S("worker", run->worker));
        publisher_end(b->publisher, t->thread_id, run, (struct span){json.data, json.len},
                      on_ended, b);
    }
    buf_fini(&json);
}

static void say_stalled(struct topic *t, const struct live_run *run)
{
    struct buf json;
    buf_init(&json);
    buf_str(&json, "{\"runId\":");
    buf_json(&json, run->run_id, strlen(run->run_id));
    buf_char(&json, '}');
    LIST_EACH(node, next, &t->subs) {
        struct sub *s = LIST_ITEM(node, struct sub, node);
        struct client *c = s->client;
        bool its = !c->run_id || strcmp(c->run_id, run->run_id) == 0;
        if (!json.failed && its && s->state >= SUB_AHEAD && !c->closed && !c->ending)
            client_say(c, "stalled", json.data, 0);
    }
    buf_fini(&json);
    t->hub->bridge->stats.stalled++;
}

static void judge(struct topic *t, const struct live_run *runs, size_t count)
{
    struct clients *set = t->hub->bridge->clients;
    bool due = set->now_ms - t->stalled_ms >= t->hub->bridge->conf->keepalive_ms;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (!runs[i].silent)
            continue;
        any = true;
        if (is_foreign(&runs[i]))
            end_foreign(t, &runs[i]);
        else if (due)
            say_stalled(t, &runs[i]);
    }
    forgotten_ask(t, runs, count);
    t->run_live = count > 0;
    if (any && due)
        t->stalled_ms = set->now_ms;
}

static void on_live(const struct live_run *runs, size_t count, void *arg)
{
    struct topic *t = arg;
    bool heard = t->heard_ms > t->watched_ms; /* since it was asked: alive */
    t->watching = false;
    if (runs && !heard && t->state == TOPIC_SUBSCRIBED)
        judge(t, runs, count);
    topic_settle(t);
}

static void look_at(struct watch *w, struct topic *t)
{
    struct bridge *b = w->bridge;
    int64_t now = b->clients->now_ms;
    int64_t lease = b->conf->worker_lease_ms;
    if (t->state != TOPIC_SUBSCRIBED || now - t->heard_ms < QUIET_MS)
        return;
    if (t->live && !t->fill && now - t->verified_ms >= b->conf->verify_ms) {
        t->verified_ms = now;
        w->budget -= w->budget > 0;
        fill_start(t);
    }
    if (t->run_live && !t->watching && now - t->watched_ms >= QUIET_MS &&
        now - w->redis_since_ms >= lease) {
        t->watching = true;
        t->watched_ms = now;
        w->budget -= w->budget > 0;
        live_ask(b->reader, t->thread_id, on_live, t);
    }
}

/* The next topic in turn, so that those in front cannot take the whole budget for ever.
 */
static struct topic *next_topic(struct watch *w)
{
    struct topic *t = strmap_next(w->bridge->hub->topics, &w->pos, NULL);

    if (!t) {
        w->pos = 0;
        t = strmap_next(w->bridge->hub->topics, &w->pos, NULL);
    }
    return t;
}

static void on_round(void *arg)
{
    struct watch *w = arg;
    struct bridge *b = w->bridge;
    struct topic *t;
    if (!reader_ready(b->reader)) {
        w->redis_since_ms = 0;
    } else {
        if (!w->redis_since_ms)
            w->redis_since_ms = clock_ms();
        size_t left = strmap_count(b->hub->topics);
        w->budget = left / ROUND_SHARE + ROUND_FEW;
        while (left-- && w->budget && (t = next_topic(w)))
            look_at(w, t);
    }
    timer_start(w->round, ROUND_MS);
}

struct watch *watch_new(struct bridge *b)
{
    struct watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->bridge = b;
    w->round = timer_new(b->loop, on_round, w);
    if (!w->round) {
        free(w);
        return NULL;
    }
    timer_start(w->round, ROUND_MS);
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    timer_free(w->round);
    free(w);
}
