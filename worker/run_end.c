/* run_end: first Postgres, then Redis, then the mark.
 *
 *   finish_run ──ok──▶ the end joins what waits ──published──▶ mark_end_published
 *       │ └─ unknown: asked again, the row tells whether it was us
 *       └─ lost: somebody else's; nothing is published
 *
 * It must never publish an end before its commit is known. */
#include "worker/run_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/pg.h"
#include "worker/agent.h"
#include "worker/agent_stats.h"
#include "worker/killpoint.h"
#include "worker/store.h"

#include <stdlib.h>
#include <string.h>

#define CANCELLED "{\"status\":\"cancelled\"}"
#define METADATA_STEPS_MAX (64u * 1024)

enum { AGAIN_MAX_MS = 2000 };

void run_end_free(struct run_end *e)
{
    buf_fini(&e->content);
    buf_fini(&e->stats);
    free(e->finish_reason);
    free(e->usage);
    e->finish_reason = e->usage = NULL;
}

static bool is_cancelled(const struct run *r)
{
    return strcmp(r->end.status, "cancelled") == 0;
}

/* --- Postgres --------------------------------------------------------------------- */

static void add_event(struct buf *out, const struct run *r, const char *type,
                      const char *content)
{
    buf_printf(out, "{\"type\":\"%s\",\"ts\":%lld,\"agentId\":", type,
               (long long)r->end.ts_ms);
    buf_json(out, r->agent_id, strlen(r->agent_id));
    buf_str(out, ",\"content\":");
    buf_str(out, content);
    buf_char(out, '}');
}

static void add_events(struct buf *out, const struct run *r)
{
    buf_char(out, '[');
    if (is_cancelled(r)) {
        add_event(out, r, "status", CANCELLED);
        buf_char(out, ',');
    }
    add_event(out, r, r->end.type == EVENT_DONE ? "done" : "error", r->end.content.data);
    buf_char(out, ']');
}

/* What a page wants to show of an answer besides its text. */
static void add_metadata(struct buf *out, const struct run *r)
{
    const struct fold *f = &r->fold;

    buf_str(out, "{\"finishReason\":");
    buf_json(out, r->end.finish_reason, strlen(r->end.finish_reason));
    if (f->reasoning.len > 0 && f->reasoning.len <= METADATA_STEPS_MAX) {
        buf_str(out, ",\"reasoning\":");
        buf_json(out, f->reasoning.data, f->reasoning.len);
    }
    if (f->steps.len > 0 && f->steps.len <= METADATA_STEPS_MAX) {
        buf_str(out, ",\"steps\":[");
        for (size_t i = 0; i + 1 < f->steps.len; i++)
            buf_char(out, f->steps.data[i] == '\n' ? ',' : f->steps.data[i]);
        buf_char(out, ']');
    }
    buf_char(out, '}');
}

static void on_finished(enum pg_outcome outcome, const struct pg_result *res,
                        const struct pg_error *err, void *arg);

static void finish_soon(struct run *r)
{
    timer_start(r->again, backoff_next(&r->backoff, AGAIN_MAX_MS));
}

void run_end_again(struct run *r)
{
    struct store_finish f = {.run_id = r->id,
                             .attempt = r->names.attempt,
                             .status = r->end.status,
                             .content = r->fold.text.len > 0 ? r->fold.text.data : "",
                             .author = r->agent_id,
                             .seq = r->end.seq};
    struct buf events, metadata;
    bool sent = false;

    if (r->end.retry) {
        run_retry(r);
        return;
    }
    buf_init(&events);
    buf_init(&metadata);
    add_events(&events, r);
    if (!r->end.plain)
        add_metadata(&metadata, r);
    f.events = events.data;
    f.metadata = r->end.plain ? NULL : metadata.data;
    f.usage = r->end.plain ? NULL : r->end.usage;
    f.stats = r->end.stats.failed ? NULL : r->end.stats.data;
    f.error = r->end.type == EVENT_ERROR ? r->end.content.data : NULL;
    if (!events.failed && !metadata.failed)
        sent = store_finish(r->w, &f, on_finished, r);
    KILL_POINT("finish-sent");
    if (sent)
        r->waits++;
    else
        finish_soon(r);
    buf_fini(&events);
    buf_fini(&metadata);
}

static void count_end(struct run *r, const char *status)
{
    struct worker_stats *s = &r->w->stats;
    struct agent_stats none = {0}, *of_agent = r->def ? r->def->stats : &none;

    if (strcmp(status, "done") == 0) {
        s->runs_done++;
        of_agent->done++;
    } else if (strcmp(status, "failed") == 0) {
        s->runs_failed++;
        of_agent->failed++;
    } else {
        s->runs_cancelled++;
        of_agent->cancelled++;
    }
    log_info("run ended", LOG_S("run", r->id), LOG_S("thread", r->thread_id),
             LOG_S("status", status), LOG_I("attempt", r->names.attempt),
             LOG_I("bytes", r->fold.text.len),
             LOG_I("ms", (clock_us() - r->claimed_us) / 1000));
}

static void committed(struct run *r, const char *status)
{
    count_end(r, status);
    r->state = RUN_CLOSING;
    timer_stop(r->again);
    run_end_pour(r, r->end.anew);
    KILL_POINT("end-poured");
    worker_on_run_gone(r->w);
}

/* The values were refused, not the moment. */
static bool is_about_values(const struct pg_error *err)
{
    return strncmp(err->sqlstate, "22", 2) == 0 || strncmp(err->sqlstate, "23", 2) == 0;
}

static void refused(struct run *r, const struct pg_error *err)
{
    log_warn("postgres refuses an end", LOG_S("run", r->id),
             LOG_S("sqlstate", err->sqlstate), LOG_S("why", err->message));
    if (!is_about_values(err)) {
        finish_soon(r);
    } else if (!r->end.plain) {
        r->end.plain = true;
        run_end_again(r);
    } else {
        run_drop(r, "its end cannot be written");
    }
}

static void on_finished(enum pg_outcome outcome, const struct pg_result *res,
                        const struct pg_error *err, void *arg)
{
    struct run *r = arg;

    KILL_POINT("finish-answered");
    run_wait_done(r);
    if (r->state != RUN_ENDING)
        return;
    switch (outcome) {
    case PG_OK:
        backoff_reset(&r->backoff);
        if (pg_rows(res) == 1 && strcmp(pg_value(res, 0, 0), "lost") != 0)
            committed(r, pg_value(res, 0, 1));
        else
            run_drop(r, "it is not ours any more");
        break;
    case PG_FAILED:
        refused(r, err);
        break;
    case PG_LOST: /* the same statement asks the row first */
    case PG_UNSENT:
        finish_soon(r);
        break;
    }
}

void run_finish(struct run *r, const char *status, enum event_type type,
                const char *finish_reason, const char *usage, struct buf *content)
{
    run_end_free(&r->end); /* it may have had another end before */
    r->end.content = *content;
    r->end.status = status;
    r->end.type = type;
    r->end.finish_reason = strdup(finish_reason);
    r->end.usage = usage ? strdup(usage) : NULL;
    figures_end(&r->figures);
    figures_json(&r->figures, &r->end.stats);
    if (r->end.content.failed || !r->end.finish_reason) {
        run_drop(r, "no memory for its end");
        return;
    }
    run_settle_text(r);
    pending_seal(&r->pending);
    r->state = RUN_ENDING;
    r->end.ts_ms = clock_wall_ms();
    r->end.seq = r->number + (int64_t)r->pending.count;
    /* what could not be kept for publishing is in fold */
    r->end.anew |= r->asking || r->pending.failed;
    r->asking = false;
    timer_stop(r->timeout);
    timer_stop(r->again);
    backoff_reset(&r->backoff);
    run_dirty(r);
    run_end_again(r);
}

/* --- Redis, and the mark ---------------------------------------------------------- */

void run_end_pour(struct run *r, bool anew)
{
    struct pending *p = &r->pending;

    if (anew) {
        r->begun = false;
        pending_clear(p);
        fold_pour(&r->fold, p, clock_wall_ms());
    }
    if (is_cancelled(r))
        pending_json(p, EVENT_STATUS, CANCELLED, sizeof(CANCELLED) - 1, r->end.ts_ms);
    pending_json(p, r->end.type, r->end.content.data, r->end.content.len, r->end.ts_ms);
    if (p->failed)
        run_over(r); /* no memory; the sweep publishes it */
    else
        run_dirty(r);
}

static void on_marked(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct run *r = arg;

    (void)outcome, (void)res, (void)err; /* else the sweep finds it and marks it */
    KILL_POINT("mark-answered");
    run_wait_done(r);
    run_over(r);
}

void run_end_published(struct run *r)
{
    if (store_mark(r->w, r->id, on_marked, r))
        r->waits++;
    else
        run_over(r);
    KILL_POINT("mark-sent");
}
