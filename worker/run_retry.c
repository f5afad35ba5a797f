/* run_retry: an agent failed and says that another attempt may help.
 *
 *   requeue_run ──ok──▶ `queued` says so to readers, and this attempt is over
 *       ├─ spent: it was tried too often: it fails, as run_end has it
 *       ├─ cancelled meanwhile: it ends as that
 *       └─ lost: somebody else's
 *   claimed anew before the answer is here: as ok, and there is nothing to say any more
 *
 * It must never say that a run waits before Postgres has it waiting. */
#include "worker/run_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/pg.h"
#include "worker/agent.h"
#include "worker/agent_stats.h"
#include "worker/intake.h"
#include "worker/killpoint.h"
#include "worker/store.h"

#include <string.h>

enum { AGAIN_MAX_MS = 2000 };

static void ask_soon(struct run *r)
{
    timer_start(r->again, backoff_next(&r->backoff, AGAIN_MAX_MS));
}

static void say_queued(struct run *r, int64_t delay_ms)
{
    struct buf json;

    buf_init(&json);
    buf_printf(&json, "{\"status\":\"queued\",\"reason\":\"retry\",\"retryInMs\":%lld,",
               (long long)delay_ms);
    buf_str(&json, "\"error\":");
    buf_add(&json, r->end.content.data, r->end.content.len);
    buf_char(&json, '}');
    if (!json.failed)
        pending_json(&r->pending, EVENT_STATUS, json.data, json.len, clock_wall_ms());
    buf_fini(&json);
}

static void count_requeued(struct run *r, int64_t delay_ms)
{
    log_info("run waits for another attempt", LOG_S("run", r->id),
             LOG_S("thread", r->thread_id), LOG_I("attempt", r->names.attempt),
             LOG_I("delay_ms", delay_ms), LOG_S("error", r->end.content.data));
    r->w->stats.runs_requeued++;
    if (r->def)
        r->def->stats->retries++;
}

static void requeued(struct run *r, int64_t delay_ms)
{
    count_requeued(r, delay_ms);
    r->state = RUN_CLOSING;
    r->end.requeued = true;
    timer_stop(r->again);
    say_queued(r, delay_ms);
    if (r->end.anew || r->pending.failed)
        run_over(r); /* nothing of this attempt is in Redis: nothing to say */
    else
        run_dirty(r);
    worker_on_run_gone(r->w);
    intake_look(r->w->intake);
}

static void on_answer(struct run *r, const char *outcome, int64_t delay_ms)
{
    backoff_reset(&r->backoff);
    r->end.asked = false;
    if (strcmp(outcome, "ok") == 0) {
        requeued(r, delay_ms);
        return;
    }
    if (strcmp(outcome, "lost") == 0) {
        run_drop(r, "it is not ours any more");
        return;
    }
    r->end.retry = false;
    if (strcmp(outcome, "cancelled") == 0)
        run_finish_cancelled(r);
    else
        run_end_again(r);
}

static void on_requeued(enum pg_outcome outcome, const struct pg_result *res,
                        const struct pg_error *err, void *arg)
{
    struct run *r = arg;

    KILL_POINT("requeue-answered");
    run_wait_done(r);
    if (r->state != RUN_ENDING)
        return;
    if (outcome == PG_OK && pg_rows(res) == 1) {
        on_answer(r, pg_value(res, 0, REQUEUE_OUTCOME), pg_int(res, 0, REQUEUE_DELAY));
    } else if (outcome == PG_FAILED) {
        log_warn("postgres refuses another attempt", LOG_S("run", r->id),
                 LOG_S("sqlstate", err->sqlstate), LOG_S("why", err->message));
        if (strncmp(err->sqlstate, "42", 2) == 0) { /* it is not migrated that far */
            r->end.retry = false;
            run_end_again(r);
        } else {
            ask_soon(r);
        }
    } else {
        ask_soon(r); /* the row tells whether it was done */
    }
}

void run_retry(struct run *r)
{
    if (store_requeue(r->w, r->id, r->names.attempt, on_requeued, r)) {
        r->waits++;
        r->end.asked = true;
    } else {
        ask_soon(r);
    }
    KILL_POINT("requeue-sent");
}

void run_claimed_anew(struct run *r)
{
    /* another connection may be faster than the answer to that; `rewind` says the rest */
    if (r->state == RUN_ENDING && r->end.asked) {
        count_requeued(r, 0);
        run_over(r);
    } else {
        run_drop(r, "claimed anew");
    }
}
