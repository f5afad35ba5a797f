/* openai: one question to a model provider a run, asked again while nothing was said.
 *
 *   settings, history ─▶ request ─▶ fetch ─▶ openai_answer ─▶ run_on_*
 *                          ▲                      │
 *                          └── a pause ◀── failed, nothing said, worth another try
 *
 * Three clocks: until the first byte, between bytes, and one for all of it. It must never
 * let the key out of the request, nor say anything twice. */
#include "worker/agents/openai.h"

#include "common/buf.h"
#include "common/fetch.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/names.h"
#include "worker/agent.h"
#include "worker/agents/openai_answer.h"
#include "worker/agents/openai_pace.h"
#include "worker/agents/openai_request.h"
#include "worker/agents/openai_settings.h"
#include "worker/conf.h"
#include "worker/run.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINGER_MS = 2000,      /* for usage and `[DONE]`, once the finish reason is there */
    BACKOFF_FROM = 3,      /* 50 ms doubled so often is the first pause, about */
    BODY_SLACK = 65536,    /* above max_bytes: openai_answer says it better than curl */
    TIME_SLACK_MS = 60000, /* above timeout_ms, for the same reason */
};

struct agent {
    struct worker *w;
    struct run *run;
    char run_id[UUID_SIZE];
    struct openai_settings s;
    struct openai_question question;
    struct fetch *fetch; /* NULL: nothing is under way */
    struct openai_answer answer;
    struct openai_pace pace;
    struct timer *watch; /* the first byte, silence, or the end that does not come */
    struct timer *limit; /* all of one question */
    struct timer *again; /* asks again */
    struct backoff backoff;
    int64_t tries;
    bool said;   /* the run has heard something: no other try */
    bool typing; /* it has heard text; before that, maybe thoughts */
    bool paused;
    bool ended; /* the run knows its end */
};

static void ask(struct agent *a);

/* --- what the run hears ----------------------------------------------------------- */

/* A word for those who watch: thoughts come before text. */
static void say_status(struct agent *a, const char *status)
{
    char json[40];
    int len = snprintf(json, sizeof(json), "{\"status\":\"%s\"}", status);

    run_on_status(a->run, json, (size_t)len);
}

static void say_text(const char *text, size_t len, void *arg)
{
    struct agent *a = arg;

    if (a->said && !a->typing)
        say_status(a, "typing");
    a->said = a->typing = true;
    run_on_token(a->run, text, len);
}

static void on_text(const char *text, size_t len, void *arg)
{
    struct agent *a = arg;

    if (a->answer.form == OPENAI_WHOLE && a->s.pace > 0)
        buf_add(&a->pace.text, text, len);
    else
        say_text(text, len, a);
}

static void on_reasoning(const char *text, size_t len, void *arg)
{
    struct agent *a = arg;

    if (!a->said)
        say_status(a, "thinking");
    a->said = true;
    run_on_reasoning(a->run, text, len);
}

static void on_tool_call(const char *json, size_t len, void *arg)
{
    struct agent *a = arg;

    a->said = true;
    run_on_delta(a->run, "tool_call", json, len);
}

static void on_usage(const char *json, size_t len, void *arg)
{
    struct agent *a = arg;

    a->said = true;
    run_on_delta(a->run, "usage", json, len);
}

static const struct openai_voice voice = {on_text, on_reasoning, on_tool_call, on_usage};

static void new_answer(struct agent *a)
{
    openai_answer_init(&a->answer, a->s.max_bytes, a->s.max_events, &voice, a);
}

/* --- the end ---------------------------------------------------------------------- */

static void finish(struct agent *a)
{
    struct buf usage;

    openai_answer_settle(&a->answer);
    if (a->ended)
        return;
    a->ended = true;
    buf_init(&usage);
    openai_usage_json(&a->answer.usage, &usage);
    run_on_done(a->run, a->answer.finish,
                usage.len > 0 && !usage.failed ? usage.data : NULL);
    buf_fini(&usage);
}

static void on_paced(void *arg)
{
    finish(arg);
}

static void stop_clocks(struct agent *a)
{
    timer_stop(a->watch);
    timer_stop(a->limit);
}

static void on_done(struct agent *a)
{
    stop_clocks(a);
    if (a->pace.text.failed) {
        a->ended = true;
        run_on_error(a->run, "out_of_memory", "The worker has no memory left.", true);
    } else if (a->pace.text.len > 0) {
        openai_pace_start(&a->pace);
    } else {
        finish(a);
    }
}

static void log_failure(const struct agent *a, const char *what, const char *why,
                        int64_t in_ms)
{
    const struct openai_failure *f = &a->answer.failure;

    log_warn(what, LOG_S("run", a->run_id), LOG_S("code", f->code),
             LOG_I("status", a->answer.status),
             LOG_S("said", f->message.len > 0 ? f->message.data : ""), LOG_S("why", why),
             LOG_I("try", a->tries), LOG_I("in_ms", in_ms));
}

/* A provider that says when to come back is not asked before, nor much later. */
static int64_t pause_ms(struct agent *a, int64_t retry_after_s)
{
    int64_t ms = backoff_next(&a->backoff, a->s.retry_max_ms);

    if (retry_after_s > 0)
        ms = retry_after_s > a->s.retry_max_ms / 1000 ? a->s.retry_max_ms
                                                      : retry_after_s * 1000 + ms / 4;
    return ms < a->s.retry_max_ms ? ms : a->s.retry_max_ms;
}

static void count_failure(struct agent *a)
{
    const char *code = a->answer.failure.code;

    a->w->stats.provider_failures++;
    a->w->stats.provider_limits += strcmp(code, "provider_limit") == 0;
    a->w->stats.provider_timeouts += strcmp(code, "provider_timeout") == 0;
}

/* `why`: of the connection, for the log. */
static void on_failed(struct agent *a, const char *why, int64_t retry_after_s)
{
    struct openai_failure *f = &a->answer.failure;

    stop_clocks(a);
    fetch_cancel(a->fetch);
    a->fetch = NULL;
    openai_failure_scrub(f, a->s.api_key);
    count_failure(a);
    if (f->retryable && !a->said && a->tries <= a->s.retries) {
        int64_t ms = pause_ms(a, retry_after_s);
        log_failure(a, "model provider failed, is asked again", why, ms);
        a->w->stats.provider_retries++;
        run_on_retry(a->run);
        timer_start(a->again, ms);
        return;
    }
    log_failure(a, "model provider failed", why, 0);
    a->ended = true;
    run_on_error(a->run, f->code,
                 f->message.len > 0 && !f->message.failed ? f->message.data
                                                          : "The model provider failed.",
                 f->retryable);
}

static void fail(struct agent *a, const char *code, bool retryable, const char *message,
                 const char *why)
{
    openai_fail(&a->answer.failure, code, retryable, message);
    a->answer.state = OPENAI_FAILED;
    on_failed(a, why, 0);
}

/* --- the answer ------------------------------------------------------------------- */

static void on_head(struct fetch *q, int status, void *arg)
{
    struct agent *a = arg;

    openai_answer_head(&a->answer, status, fetch_header(q, "Content-Type"));
}

/* The run may have ended by what it heard: it had enough, or was cancelled. */
static bool is_heard(struct agent *a)
{
    if (a->ended || run_has_agent(a->run))
        return !a->ended;
    a->ended = true;
    return false;
}

static void look(struct agent *a)
{
    if (!is_heard(a))
        return;
    switch (a->answer.state) {
    case OPENAI_GOING:
        if (!a->paused)
            timer_start(a->watch, a->s.stall_ms);
        break;
    case OPENAI_FINISHED:
        timer_start(a->watch, LINGER_MS);
        break;
    case OPENAI_DONE:
        on_done(a);
        break;
    case OPENAI_FAILED:
        on_failed(a, "", 0);
        break;
    }
}

static void on_body(struct fetch *q, const char *data, size_t len, void *arg)
{
    struct agent *a = arg;

    (void)q;
    if (a->ended || a->answer.state >= OPENAI_DONE) {
        a->w->stats.provider_after_end++;
        return;
    }
    openai_answer_feed(&a->answer, data, len);
    a->w->stats.provider_after_end += (uint64_t)a->answer.after_end;
    a->answer.after_end = 0;
    look(a);
}

static void on_fetched(const struct fetch_answer *got, void *arg)
{
    struct agent *a = arg;
    bool whole = got->status != 0;

    a->fetch = NULL;
    if (a->ended || a->answer.state >= OPENAI_DONE)
        return;
    if (!whole && a->answer.status == 0)
        openai_fail(&a->answer.failure, "provider_unavailable", !got->is_untrusted,
                    got->is_untrusted ? "The model provider's certificate is not trusted."
                                      : "The model provider cannot be reached.");
    if (a->answer.failure.code)
        a->answer.state = OPENAI_FAILED;
    openai_answer_end(&a->answer, whole);
    if (!is_heard(a))
        return;
    if (a->answer.state == OPENAI_FAILED)
        on_failed(a, got->why, got->retry_after_s);
    else
        look(a);
}

static void on_watch(void *arg)
{
    struct agent *a = arg;

    if (a->answer.state == OPENAI_FINISHED) {
        a->answer.state = OPENAI_DONE; /* all that matters is there */
        on_done(a);
    } else if (a->answer.bytes == 0) {
        fail(a, "provider_timeout", true,
             "The model provider did not begin to answer in time.", "no first byte");
    } else {
        fail(a, "provider_timeout", true, "The model provider has fallen silent.",
             "silence");
    }
}

static void on_limit(void *arg)
{
    struct agent *a = arg;

    if (a->answer.state == OPENAI_FINISHED)
        on_watch(a);
    else
        fail(a, "provider_limit", false, "The model provider took longer than allowed.",
             "timeout_ms");
}

/* --- the question ----------------------------------------------------------------- */

static const struct fetch_reader reader = {on_head, on_body};

static void ask(struct agent *a)
{
    bool has_key = a->question.bearer.len > 0;
    const struct fetch_header headers[] = {
        {"Content-Type", "application/json"},
        {"Accept", a->s.stream ? "text/event-stream" : "application/json"},
        {"Authorization", has_key ? a->question.bearer.data : ""},
    };
    const struct fetch_request r = {
        .url = a->question.url.data,
        .headers = headers,
        .header_count = has_key ? 3 : 2,
        .body = a->question.body.data,
        .body_len = a->question.body.len,
        .connect_ms = a->s.connect_ms,
        .total_ms = a->s.timeout_ms + TIME_SLACK_MS,
        .body_max = (size_t)a->s.max_bytes + BODY_SLACK,
        .reader = &reader,
    };

    a->tries++;
    a->w->stats.provider_requests++;
    timer_start(a->limit, a->s.timeout_ms);
    a->fetch = a->w->fetcher ? fetch_start(a->w->fetcher, &r, on_fetched, a) : NULL;
    if (!a->fetch)
        fail(a, "provider_unavailable", true, "The model provider cannot be asked.",
             "too many are asked, or no memory");
    else if (a->paused)
        fetch_pause(a->fetch);
    else
        timer_start(a->watch, a->s.first_byte_ms);
}

static void on_again(void *arg)
{
    struct agent *a = arg;

    openai_answer_fini(&a->answer);
    new_answer(a);
    ask(a);
}

/* --- for the run ------------------------------------------------------------------ */

static void openai_free(struct agent *a)
{
    openai_answer_fini(&a->answer);
    openai_pace_fini(&a->pace);
    openai_settings_fini(&a->s);
    openai_question_fini(&a->question);
    timer_free(a->watch);
    timer_free(a->limit);
    timer_free(a->again);
    free(a);
}

static void openai_release(struct agent *a)
{
    if (a->answer.state == OPENAI_DONE)
        fetch_leave(a->fetch); /* the connection is good for the next question */
    else
        fetch_cancel(a->fetch);
    openai_free(a);
}

static void openai_pause(struct agent *a)
{
    a->paused = true;
    timer_stop(a->watch);
    openai_pace_pause(&a->pace);
    if (a->fetch)
        fetch_pause(a->fetch);
}

static void openai_resume(struct agent *a)
{
    a->paused = false;
    openai_pace_resume(&a->pace);
    if (!a->fetch || a->ended)
        return;
    timer_start(a->watch, a->answer.bytes > 0 ? a->s.stall_ms : a->s.first_byte_ms);
    fetch_resume(a->fetch);
}

/* false: the run knows why, or there is no memory. */
static bool set_up(struct agent *a, const struct openai_settings *options,
                   const struct agent_input *in)
{
    struct buf why;
    const char *code;

    if (!openai_settings_standard(&a->s, a->w->conf) ||
        !openai_settings_over(&a->s, options))
        return false;
    buf_init(&why);
    code = openai_settings_message(&a->s, in->metadata, &why);
    if (!code && !a->s.api_key && strcmp(a->s.base_url, OPENAI_BASE_URL) == 0) {
        code = "provider_auth";
        buf_str(&why, "No key for the model provider was given to the worker.");
    }
    if (code)
        run_on_error(a->run, code, why.len > 0 ? why.data : "", false);
    buf_fini(&why);
    if (code)
        return false;
    return openai_question_make(&a->question, &a->s, in->history, in->content);
}

static struct agent *openai_start(struct worker *w, const struct agent_def *def,
                                  struct run *r, const struct agent_input *in,
                                  const char **why)
{
    struct agent *a = calloc(1, sizeof(*a));

    (void)why;
    if (!a)
        return NULL;
    a->w = w;
    a->run = r;
    a->backoff.attempts = BACKOFF_FROM;
    snprintf(a->run_id, sizeof(a->run_id), "%s", in->run_id);
    openai_settings_init(&a->s);
    openai_question_init(&a->question);
    new_answer(a);
    a->watch = timer_new(w->loop, on_watch, a);
    a->limit = timer_new(w->loop, on_limit, a);
    a->again = timer_new(w->loop, on_again, a);
    if (!a->watch || !a->limit || !a->again || !set_up(a, def->options, in) ||
        !openai_pace_init(&a->pace, w->loop, a->s.pace)) {
        openai_free(a);
        return NULL;
    }
    openai_answer_fini(&a->answer); /* now that its limits are known */
    new_answer(a);
    a->pace.on_piece = say_text;
    a->pace.on_end = on_paced;
    a->pace.arg = a;
    ask(a);
    return a;
}

const struct agent_kind agent_openai = {
    .name = "openai",
    .needs_history = true,
    .shorthand = "model",
    .options_new = openai_options_new,
    .options_free = openai_options_free,
    .start = openai_start,
    .pause = openai_pause,
    .resume = openai_resume,
    .release = openai_release,
};
