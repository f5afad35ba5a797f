/* run_publish: what waits goes out, one call at a time.
 *
 *   pending ─▶ call ─▶ OK ─▶ next │ LOST, GAP ─▶ still ours? ─▶ anew, folded
 *                                 │ FENCED, ENDED ─▶ dropped: somebody else's
 *
 * Numbers only go up, also when a run begins anew: what a number once stood for, it
 * stands for ever. It must never publish an end that Postgres does not know. */
#include "worker/run_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/pg.h"
#include "worker/agent.h"
#include "worker/agents.h"
#include "worker/conf.h"
#include "worker/killpoint.h"
#include "worker/store.h"

#include <string.h>

enum { CALL_EVENTS = 2000, FLUSH_MAX_MS = 200, SLOWER_EVERY = 1000, AGAIN_MAX_MS = 2000 };

size_t run_unpublished(const struct run *r)
{
    return r->pending.bytes + (r->call.handle ? r->call.bytes : 0);
}

/* A run that goes on and on is read in larger pieces. */
static int64_t flush_interval(const struct run *r)
{
    int64_t ms = r->w->conf->flush_ms;

    for (uint64_t n = r->events / SLOWER_EVERY; n > 0 && ms < FLUSH_MAX_MS; n--)
        ms *= 2;
    return ms < FLUSH_MAX_MS || ms == r->w->conf->flush_ms ? ms : FLUSH_MAX_MS;
}

void run_on_flush(void *arg)
{
    run_dirty(arg);
}

/* Text alone may wait for more of it; the first piece and everything else may not. */
static bool may_wait(struct run *r)
{
    int64_t due;

    if (r->pending.urgent || r->state != RUN_GOING || r->text_ms == 0)
        return false;
    due = r->text_ms + flush_interval(r) - clock_ms();
    if (due <= 0)
        return false;
    if (!timer_running(r->flush))
        timer_start(r->flush, due);
    return true;
}

static enum publish_mode mode_of(const struct run *r, bool last)
{
    if (!r->begun)
        return last ? PUBLISH_BEGIN_END : PUBLISH_BEGIN;
    return last ? PUBLISH_END : PUBLISH_MORE;
}

static void on_answer(const struct publish_answer *a, void *arg);

static void start_call(struct run *r)
{
    /* what begins a run goes in one call, however much it is */
    size_t max = r->begun ? CALL_EVENTS : SIZE_MAX;
    bool last = r->state == RUN_CLOSING && !r->end.requeued && r->pending.count <= max;
    bool has_token = r->fold.text.len > 0;
    struct publish_order order = {.mode = mode_of(r, last),
                                  .thread_id = r->thread_id,
                                  .run_id = r->id,
                                  .attempt = r->names.attempt,
                                  .number = r->number};
    struct batch batch;
    size_t count, bytes;

    if (!pending_take(&r->pending, &r->names, max, &batch)) {
        timer_start(r->flush, FLUSH_MAX_MS);
        return;
    }
    count = batch.count;
    bytes = batch.data.len;
    r->call.handle =
        publish_start(r->w->publishers, r->lane, &order, &batch, on_answer, r);
    if (!r->call.handle) { /* no memory; all of it is in fold */
        batch_fini(&batch);
        run_begin_anew(r);
        timer_start(r->flush, FLUSH_MAX_MS);
        return;
    }
    if (last)
        KILL_POINT("end-sent");
    else if (order.mode == PUBLISH_BEGIN)
        KILL_POINT("begin-sent");
    else
        KILL_POINT("publish-sent");
    r->number += (int64_t)count;
    r->call.mode = order.mode;
    r->call.events = count;
    r->call.bytes = bytes;
    r->call.has_token = has_token;
    r->call.started_us = clock_us();
    if (has_token)
        r->text_ms = clock_ms();
}

/* --- anew ------------------------------------------------------------------------- */

void run_begin_anew(struct run *r)
{
    KILL_POINT("anew-begun");
    r->w->stats.begun_anew++;
    r->begun = false;
    if (r->state == RUN_CLOSING) {
        if (r->end.requeued) /* the next attempt tells it all anew */
            run_over(r);
        else
            run_end_pour(r, true);
        return;
    }
    pending_clear(&r->pending);
    fold_pour(&r->fold, &r->pending, clock_wall_ms());
    if (r->pending.failed) {
        r->end.anew = true;
        run_fail(r, "out_of_memory", "The worker has no memory left.", true);
        return;
    }
    run_dirty(r);
}

static void on_renewed(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct run *r = arg;

    (void)err;
    run_wait_done(r);
    r->renewing = false;
    if (!r->asking || r->state > RUN_GOING)
        return;
    if (outcome != PG_OK) {
        timer_start(r->flush, backoff_next(&r->backoff, AGAIN_MAX_MS));
        return;
    }
    r->asking = false;
    backoff_reset(&r->backoff);
    if (pg_rows(res) == 0)
        run_drop(r, "it is not ours any more");
    else
        run_begin_anew(r);
}

/* Redis does not have the run. If it is still ours, Postgres says so. */
static void ask(struct run *r)
{
    struct store_runs one;

    if (r->renewing)
        return;
    store_runs_init(&one);
    store_runs_add(&one, r->id, r->names.attempt);
    r->renewing = store_renew(r->w, &one, on_renewed, r);
    if (r->renewing)
        r->waits++;
    else
        timer_start(r->flush, backoff_next(&r->backoff, AGAIN_MAX_MS));
    store_runs_fini(&one);
}

void run_publish(struct run *r)
{
    if (r->call.handle || r->state == RUN_OVER)
        return;
    if (r->state == RUN_ENDING && r->end.anew)
        return; /* goes with the end */
    if (r->asking)
        ask(r);
    else if (r->pending.count > 0 && !may_wait(r))
        start_call(r);
}

/* Others' events count too: they push ours out of the log. */
static bool is_too_long(const struct run *r)
{
    const struct worker_conf *conf = r->w->conf;
    uint64_t events = r->last.epoch == r->began.epoch ? r->last.n - r->began.n : 0;

    if (events * 2 > (uint64_t)conf->history_max_events && events > 2 * r->begin_events)
        return true;
    return r->since_bytes * 2 > (size_t)conf->history_max_bytes &&
           r->since_bytes > 2 * r->begin_bytes;
}

/* --- answers ---------------------------------------------------------------------- */

static void count_published(struct run *r, const struct publish_answer *a)
{
    if (r->call.mode == PUBLISH_BEGIN) {
        r->begun = true;
        r->began = a->first;
        r->begin_bytes = r->call.bytes;
        r->begin_events = r->call.events;
        r->since_bytes = 0;
    }
    if (!event_id_zero(a->last))
        r->last = a->last;
    r->since_bytes += r->call.bytes;
    r->events += r->call.events;
    if (r->call.has_token && !r->token_seen) {
        r->token_seen = true;
        stats_observe(&r->w->stats.first_token, clock_us() - r->claimed_us);
    }
}

static void on_ok(struct run *r, const struct publish_answer *a)
{
    bool ended = r->call.mode == PUBLISH_END || r->call.mode == PUBLISH_BEGIN_END;

    count_published(r, a);
    if (ended) {
        run_end_published(r);
        return;
    }
    if (r->end.requeued && r->pending.count == 0) {
        run_over(r);
        return;
    }
    if (r->paused && run_unpublished(r) <= (size_t)r->w->conf->run_buffer_bytes / 2) {
        r->paused = false;
        if (r->agent)
            r->def->kind->resume(r->agent);
    }
    if (r->state == RUN_GOING && is_too_long(r))
        run_begin_anew(r);
    run_dirty(r);
}

static void on_lost(struct run *r)
{
    log_info("run is not in redis", LOG_S("run", r->id), LOG_S("thread", r->thread_id));
    r->begun = false;
    switch (r->state) {
    case RUN_STARTING:
    case RUN_GOING:
        backoff_reset(&r->backoff);
        r->asking = true;
        run_dirty(r);
        break;
    case RUN_ENDING:
        r->end.anew = true;
        break;
    case RUN_CLOSING:
        run_begin_anew(r);
        break;
    case RUN_OVER:
        break;
    }
}

/* Somebody else has gone on with it, or ended it. */
static void on_refused(struct run *r, enum publish_result result)
{
    switch (r->state) {
    case RUN_STARTING:
    case RUN_GOING:
        if (result == PUBLISH_REFUSED)
            run_fail(r, "publish_refused", "The events could not be published.", false);
        else
            run_drop(r, result == PUBLISH_FENCED ? "a later attempt is known in redis"
                                                 : "its end is published");
        break;
    case RUN_ENDING:
        r->end.anew = true; /* Postgres decides */
        break;
    case RUN_CLOSING:
        if (result == PUBLISH_ENDED && !r->end.requeued)
            run_end_published(r);
        else
            run_over(r); /* the sweep looks after it */
        break;
    case RUN_OVER:
        break;
    }
}

static void on_answer(const struct publish_answer *a, void *arg)
{
    struct run *r = arg;

    if (r->call.mode == PUBLISH_END || r->call.mode == PUBLISH_BEGIN_END)
        KILL_POINT("end-answered");
    else if (r->call.mode == PUBLISH_BEGIN)
        KILL_POINT("begin-answered");
    else
        KILL_POINT("publish-answered");
    r->call.handle = NULL;
    stats_observe(&r->w->stats.publish, clock_us() - r->call.started_us);
    switch (a->result) {
    case PUBLISH_OK:
        on_ok(r, a);
        break;
    case PUBLISH_LOST:
    case PUBLISH_GAP:
        on_lost(r);
        break;
    case PUBLISH_FENCED:
    case PUBLISH_ENDED:
    case PUBLISH_TAKEN:
    case PUBLISH_REFUSED:
        on_refused(r, a->result);
        break;
    }
}
