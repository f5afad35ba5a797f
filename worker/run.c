/* run: one run's life: made from a row of a claim, its agent started, handed over or let
 * go. run_said.c takes what the agent says, run_publish.c sends it, run_end.c and
 * run_retry.c end it. It must never call Redis or free an agent inside a callback of that
 * agent: that waits for the end of the turn. */
#include "worker/run.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/strmap.h"
#include "worker/agent.h"
#include "worker/agents.h"
#include "worker/conf.h"
#include "worker/killpoint.h"
#include "worker/run_internal.h"
#include "worker/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MAX_MS 2000

struct run *run_of_node(struct list *node)
{
    return LIST_ITEM(node, struct run, node);
}

struct run *run_of_chore(struct list *node)
{
    return LIST_ITEM(node, struct run, chore);
}

const char *run_id(const struct run *r)
{
    return r->id;
}

int64_t run_attempt(const struct run *r)
{
    return r->names.attempt;
}

bool run_is_live(const struct run *r)
{
    return r->state < RUN_CLOSING;
}

bool run_has_agent(const struct run *r)
{
    return r->state <= RUN_GOING;
}

void run_dirty(struct run *r)
{
    if (!list_linked(&r->chore))
        list_push(&r->w->dirty, &r->chore);
}

/* --- leaving ---------------------------------------------------------------------- */

static void let_agent_go(struct run *r)
{
    struct agent *a = r->agent;

    r->agent = NULL;
    if (a)
        r->def->kind->release(a);
}

void run_over(struct run *r)
{
    bool was_live = run_is_live(r);

    if (r->state == RUN_OVER)
        return;
    r->state = RUN_OVER;
    if (r->call.handle)
        publish_cancel(r->call.handle);
    r->call.handle = NULL;
    timer_stop(r->timeout);
    timer_stop(r->again);
    timer_stop(r->flush);
    if (strmap_get(r->w->runs, r->id, strlen(r->id)) == r)
        strmap_remove(r->w->runs, r->id, strlen(r->id));
    list_remove(&r->chore);
    if (r->waits == 0)
        list_push(&r->w->over, &r->chore);
    if (was_live || r->w->draining)
        worker_on_run_gone(r->w);
}

void run_wait_done(struct run *r)
{
    if (--r->waits == 0 && r->state == RUN_OVER)
        list_push(&r->w->over, &r->chore);
}

void run_drop(struct run *r, const char *why)
{
    if (r->state >= RUN_CLOSING)
        return;
    log_warn("run dropped", LOG_S("run", r->id), LOG_S("thread", r->thread_id),
             LOG_I("attempt", r->names.attempt), LOG_S("reason", why));
    r->w->stats.runs_dropped++;
    run_over(r);
}

void run_handed_back(struct run *r)
{
    if (r->state > RUN_GOING)
        return;
    log_info("run handed back", LOG_S("run", r->id), LOG_S("thread", r->thread_id),
             LOG_I("attempt", r->names.attempt));
    r->w->stats.runs_handed_back++;
    run_over(r);
}

void run_free(struct run *r)
{
    if (!r)
        return;
    if (r->call.handle)
        publish_cancel(r->call.handle);
    let_agent_go(r);
    agent_def_unref(r->def);
    if (r->state != RUN_OVER && strmap_get(r->w->runs, r->id, strlen(r->id)) == r)
        strmap_remove(r->w->runs, r->id, strlen(r->id));
    list_remove(&r->node);
    list_remove(&r->chore);
    timer_free(r->timeout);
    timer_free(r->again);
    timer_free(r->flush);
    fold_fini(&r->fold);
    pending_clear(&r->pending);
    run_end_free(&r->end);
    free(r->content);
    free(r->metadata);
    free(r->input);
    free(r);
}

/* --- beginning -------------------------------------------------------------------- */

static void on_timeout(void *arg)
{
    struct run *r = arg;

    r->w->stats.timed_out++;
    run_fail(r, "timeout", "The run took too long.", true);
}

static void on_history(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg);

static void ask_history(struct run *r)
{
    if (store_history(r->w, r->thread_id, r->message_id, on_history, r))
        r->waits++;
    else
        timer_start(r->again, backoff_next(&r->backoff, AGAIN_MAX_MS));
}

static void on_again(void *arg)
{
    struct run *r = arg;

    if (r->state == RUN_STARTING)
        ask_history(r);
    else if (r->state == RUN_ENDING)
        run_end_again(r);
}

static void go(struct run *r, const char *history)
{
    const struct agent_input in = {
        .run_id = r->id,
        .thread_id = r->thread_id,
        .agent_id = r->agent_id,
        .reply_id = r->reply_id,
        .attempt = r->names.attempt,
        .message_id = r->message_id,
        .content = r->content,
        .metadata = r->metadata,
        .input = r->input,
        .trace = &r->trace,
        .history = history,
    };
    const char *why = "The agent could not be started.";

    r->state = RUN_GOING;
    figures_start(&r->figures, r->def->stats);
    r->agent = r->def->kind->start(r->w, r->def, r, &in, &why);
    KILL_POINT("agent-started");
    if (!r->agent && r->state == RUN_GOING)
        run_fail(r, "agent_start", why, true);
    if (r->agent && r->paused)
        r->def->kind->pause(r->agent);
    run_dirty(r);
}

static void on_history(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct run *r = arg;

    (void)err;
    KILL_POINT("history-answered");
    run_wait_done(r);
    if (r->state != RUN_STARTING)
        return;
    if (outcome == PG_OK && pg_rows(res) == 1)
        go(r, pg_value(res, 0, 0));
    else
        timer_start(r->again, backoff_next(&r->backoff, AGAIN_MAX_MS));
}

static void copy(char *out, size_t size, const char *value)
{
    snprintf(out, size, "%s", value ? value : "");
}

static char *copied(const struct pg_result *res, int row, int column)
{
    const char *value = pg_value(res, row, column);

    return value ? strdup(value) : NULL;
}

static bool fill(struct run *r, const struct pg_result *res, int row)
{
    const char *agent = pg_value(res, row, CLAIM_AGENT);

    copy(r->id, sizeof(r->id), pg_value(res, row, CLAIM_RUN));
    copy(r->thread_id, sizeof(r->thread_id), pg_value(res, row, CLAIM_THREAD));
    copy(r->message_id, sizeof(r->message_id), pg_value(res, row, CLAIM_MESSAGE));
    copy(r->reply_id, sizeof(r->reply_id), pg_value(res, row, CLAIM_REPLY));
    r->def = agents_find(r->w->agents, agent);
    if (r->def)
        agent_def_ref(r->def); /* a reload must not take it away */
    copy(r->agent_id, sizeof(r->agent_id), r->def ? r->def->name : agent);
    r->content = copied(res, row, CLAIM_CONTENT);
    r->metadata = copied(res, row, CLAIM_METADATA);
    r->input = copied(res, row, CLAIM_INPUT);
    trace_of_metadata(&r->trace, r->metadata);
    r->names = (struct event_run){.thread_id = r->thread_id,
                                  .run_id = r->id,
                                  .agent_id = r->agent_id,
                                  .message_id = r->reply_id,
                                  .attempt = pg_int(res, row, CLAIM_ATTEMPT)};
    r->timeout = timer_new(r->w->loop, on_timeout, r);
    r->again = timer_new(r->w->loop, on_again, r);
    return r->content && r->metadata && r->timeout && r->again;
}

static struct run *run_new(struct worker *w, const struct pg_result *res, int row)
{
    struct run *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    list_init(&r->node);
    list_init(&r->chore);
    pending_init(&r->pending);
    fold_init(&r->fold);
    buf_init(&r->end.content);
    buf_init(&r->end.stats);
    r->w = w;
    r->number = 1;
    r->claimed_us = clock_us();
    r->lane = publishers_lane(w->publishers);
    r->flush = timer_new(w->loop, run_on_flush, r);
    if (r->flush && fill(r, res, row) && strmap_set(w->runs, r->id, strlen(r->id), r)) {
        list_push(&w->run_list, &r->node);
        return r;
    }
    run_free(r);
    return NULL;
}

/* The first event of an attempt; with what its request is called, if there is memory. */
static void say_first(struct run *r, bool again)
{
    const char *first = again ? "{\"status\":\"rewind\"}" : "{\"status\":\"started\"}";
    size_t len = strlen(first);
    struct buf json;

    buf_init(&json);
    buf_add(&json, first, len - 1);
    trace_members(&r->trace, &json);
    buf_char(&json, '}');
    pending_json(&r->pending, EVENT_STATUS, json.failed ? first : json.data,
                 json.failed ? len : json.len, clock_wall_ms());
    buf_fini(&json);
}

bool run_start(struct worker *w, const struct pg_result *res, int row)
{
    struct run *before = worker_run(w, pg_value(res, row, CLAIM_RUN));
    struct run *r;

    if (before)
        run_claimed_anew(before);
    r = run_new(w, res, row);
    if (!r)
        return false;
    log_info("run started", LOG_S("run", r->id), LOG_S("thread", r->thread_id),
             LOG_S("agent", r->agent_id), LOG_I("attempt", r->names.attempt),
             LOG_S("request", r->trace.request_id));
    say_first(r, r->names.attempt > 1);
    run_dirty(r);
    KILL_POINT("run-made");
    if (w->conf->run_timeout_ms > 0)
        timer_start(r->timeout, w->conf->run_timeout_ms);
    if (!r->def)
        run_fail(r, "unknown_agent", "There is no agent of that name.", false);
    else if (pg_bool(res, row, CLAIM_CANCELLED))
        run_cancel(r);
    else if (r->def->kind->needs_history)
        ask_history(r);
    else
        go(r, NULL);
    return true;
}

/* --- the end of a turn ------------------------------------------------------------ */

void run_flush(struct run *r)
{
    if (r->state >= RUN_ENDING)
        let_agent_go(r);
    run_publish(r);
}
