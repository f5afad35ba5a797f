/* run_said: what an agent says, checked and counted: into what was made (fold) and what
 * waits to be published (pending), or the end. It must never block the agent's callback
 * or free the agent inside it: that waits for the end of the turn. */
#include "worker/run_internal.h"

#include "common/clock.h"
#include "common/utf8.h"
#include "worker/agent.h"
#include "worker/agent_stats.h"
#include "worker/agents.h"
#include "worker/conf.h"
#include "worker/killpoint.h"

#include <string.h>

/* Is there room for `len` more bytes? Ends the run when not. */
static bool may_say(struct run *r, size_t len)
{
    if (r->state > RUN_GOING) {
        r->w->stats.agent_after_end++;
        return false;
    }
    if (r->made_bytes + len > (size_t)r->w->conf->run_max_bytes) {
        r->w->stats.too_large++;
        run_fail(r, "too_large", "The answer was longer than allowed.", false);
        return false;
    }
    if (++r->said > (uint64_t)r->w->conf->run_max_events) {
        r->w->stats.too_many++;
        run_fail(r, "too_many_events", "The answer had more pieces than allowed.", false);
        return false;
    }
    r->made_bytes += len;
    return true;
}

/* Something was added to fold and pending. */
static void said(struct run *r)
{
    if (r->pending.failed || fold_failed(&r->fold)) {
        run_fail(r, "out_of_memory", "The worker has no memory left.", true);
        return;
    }
    run_dirty(r);
    if (!r->paused && run_unpublished(r) > (size_t)r->w->conf->run_buffer_bytes) {
        r->paused = true;
        r->w->stats.paused++;
        if (r->agent)
            r->def->kind->pause(r->agent);
    }
}

static void say_text(struct run *r, const char *text, size_t len)
{
    struct buf repaired;

    buf_init(&repaired);
    if (!utf8_valid(text, len)) {
        utf8_repair(&repaired, text, len);
        if (repaired.failed)
            r->pending.failed = true;
        text = repaired.data;
        len = repaired.len;
    }
    if (len > 0 && text) {
        fold_text(&r->fold, text, len);
        if (!fold_failed(&r->fold)) /* what the record lacks is not published either */
            pending_text(&r->pending, text, len, clock_wall_ms());
        r->w->stats.tokens++;
        KILL_POINT("token-queued");
    }
    buf_fini(&repaired);
}

void run_on_token(struct run *r, const char *text, size_t len)
{
    struct buf joined;
    size_t whole;

    if (len == 0 || !may_say(r, len))
        return;
    figures_text(&r->figures, len);
    buf_init(&joined);
    if (r->tail_len > 0) {
        buf_add(&joined, r->tail, r->tail_len);
        buf_add(&joined, text, len);
        if (joined.failed) {
            buf_fini(&joined);
            run_fail(r, "out_of_memory", "The worker has no memory left.", true);
            return;
        }
        text = joined.data;
        len = joined.len;
    }
    whole = utf8_whole(text, len);
    r->tail_len = len - whole;
    memcpy(r->tail, text + whole, r->tail_len);
    say_text(r, text, whole);
    buf_fini(&joined);
    said(r);
}

void run_settle_text(struct run *r)
{
    size_t len = r->tail_len;

    r->tail_len = 0;
    if (len > 0)
        say_text(r, r->tail, len);
}

void run_on_delta(struct run *r, const char *kind, const char *json, size_t len)
{
    if (!may_say(r, len))
        return;
    if (strcmp(kind, "usage") == 0)
        figures_usage(&r->figures, json, len);
    fold_delta(&r->fold, kind, json, len);
    if (!fold_failed(&r->fold))
        pending_json(&r->pending, EVENT_DELTA, json, len, clock_wall_ms());
    said(r);
}

void run_on_reasoning(struct run *r, const char *text, size_t len)
{
    struct buf clean, json;

    if (!may_say(r, len))
        return;
    buf_init(&clean);
    buf_init(&json);
    utf8_repair(&clean, text, len);
    fold_reasoning_json(&json, clean.data ? clean.data : "", clean.len);
    fold_reasoning(&r->fold, clean.data ? clean.data : "", clean.len);
    r->pending.failed |= clean.failed || json.failed;
    if (!json.failed && !fold_failed(&r->fold))
        pending_json(&r->pending, EVENT_DELTA, json.data, json.len, clock_wall_ms());
    buf_fini(&clean);
    buf_fini(&json);
    said(r);
}

void run_on_status(struct run *r, const char *json, size_t len)
{
    if (!may_say(r, len))
        return;
    fold_status(&r->fold, json, len);
    pending_json(&r->pending, EVENT_STATUS, json, len, clock_wall_ms());
    said(r);
}

void run_on_retry(struct run *r)
{
    if (r->state <= RUN_GOING)
        figures_retry(&r->figures);
}

/* --- the end ---------------------------------------------------------------------- */

static void add_done(struct buf *out, const struct run *r, const char *finish_reason,
                     const char *usage)
{
    buf_printf(out, "{\"messageId\":\"%s\",\"finishReason\":", r->reply_id);
    buf_json(out, finish_reason, strlen(finish_reason));
    if (usage) {
        buf_str(out, ",\"usage\":");
        buf_str(out, usage);
    }
    if (r->figures.started_us > 0) {
        buf_str(out, ",\"stats\":");
        figures_json(&r->figures, out);
    }
    buf_char(out, '}');
}

/* The usage is what the agent says at its end, else what it said last. */
static void finish_done(struct run *r, const char *status, const char *finish_reason,
                        const char *usage_json)
{
    struct buf content, usage;

    buf_init(&content);
    buf_init(&usage);
    figures_end(&r->figures);
    figures_usage_json(&r->figures, &usage);
    if (!usage_json)
        usage_json = usage.data;
    add_done(&content, r, finish_reason, usage_json);
    run_finish(r, status, EVENT_DONE, finish_reason, usage_json, &content);
    buf_fini(&usage);
}

void run_on_done(struct run *r, const char *finish_reason, const char *usage_json)
{
    if (r->state > RUN_GOING) {
        r->w->stats.agent_after_end++;
        return;
    }
    KILL_POINT("agent-done");
    if (usage_json)
        figures_usage(&r->figures, usage_json, strlen(usage_json));
    finish_done(r, "done", finish_reason, usage_json);
}

void run_fail(struct run *r, const char *code, const char *message, bool retryable)
{
    struct buf content, usage;

    if (r->state > RUN_GOING) {
        r->w->stats.agent_after_end++;
        return;
    }
    KILL_POINT("agent-failed");
    if (r->def)
        r->def->stats->errors++;
    buf_init(&content);
    buf_str(&content, "{\"code\":");
    buf_json(&content, code, strlen(code));
    buf_str(&content, ",\"message\":");
    buf_json(&content, message, strlen(message));
    buf_printf(&content, ",\"retryable\":%s}", retryable ? "true" : "false");
    buf_init(&usage);
    figures_usage_json(&r->figures, &usage);
    run_finish(r, "failed", EVENT_ERROR, "error", usage.data, &content);
    buf_fini(&usage);
}

void run_on_error(struct run *r, const char *code, const char *message, bool retryable)
{
    if (r->state <= RUN_GOING)
        r->end.retry = retryable;
    run_fail(r, code, message, retryable);
}

void run_finish_cancelled(struct run *r)
{
    finish_done(r, "cancelled", "cancelled", NULL);
}

void run_cancel(struct run *r)
{
    if (r->state > RUN_GOING)
        return; /* its end is decided */
    KILL_POINT("cancel-heard");
    run_finish_cancelled(r);
}
