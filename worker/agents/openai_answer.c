/* openai_answer: which form an answer has, when it is over, and what its end means. What
 * an end without a finish reason looks like is a lost answer, never a whole one. */
#include "worker/agents/openai_answer.h"

#include "worker/agents/openai_chunk.h"
#include "worker/agents/openai_json.h"

#include <string.h>
#include <strings.h>

enum {
    EVENT_BYTES_MAX = 4 * 1024 * 1024, /* one piece of a stream */
    ERROR_BYTES_MAX = 64 * 1024,       /* what is read of an error */
};

void openai_answer_init(struct openai_answer *a, int64_t max_bytes, int64_t max_events,
                        const struct openai_voice *voice, void *arg)
{
    *a = (struct openai_answer){.voice = voice,
                                .arg = arg,
                                .max_bytes = max_bytes,
                                .max_events = max_events,
                                .usage = {-1, -1, -1, -1, -1}};
    openai_sse_init(&a->sse, EVENT_BYTES_MAX);
    buf_init(&a->body);
    openai_tools_init(&a->tools);
    openai_failure_init(&a->failure);
}

void openai_answer_fini(struct openai_answer *a)
{
    openai_sse_fini(&a->sse);
    buf_fini(&a->body);
    openai_tools_fini(&a->tools);
    openai_failure_fini(&a->failure);
}

static void fail(struct openai_answer *a, const char *code, bool retryable,
                 const char *message)
{
    openai_fail(&a->failure, code, retryable, message);
    a->state = OPENAI_FAILED;
}

/* --- pieces of a stream ----------------------------------------------------------- */

/* What was taken in may have been an error, or the end. */
static void look(struct openai_answer *a)
{
    if (a->failure.code)
        a->state = OPENAI_FAILED;
    else if (a->finish[0] && a->state == OPENAI_GOING)
        a->state = OPENAI_FINISHED;
}

static bool is_blank(const char *s, size_t len)
{
    while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    return len == 0;
}

static bool is_done_mark(const char *data, size_t len)
{
    return len >= 6 && memcmp(data, "[DONE]", 6) == 0 && is_blank(data + 6, len - 6);
}

static void on_done_mark(struct openai_answer *a)
{
    if (a->state == OPENAI_FINISHED)
        a->state = OPENAI_DONE;
    else
        fail(a, "provider_incomplete", true,
             "The model provider's answer ended without a reason.");
}

static void read_json(struct openai_answer *a, const char *data, size_t len)
{
    enum json_trouble trouble;
    json_t *root = openai_json(data, len, &trouble);

    if (json_is_object(root))
        openai_chunk_read(a, root);
    else if (trouble == JSON_NO_MEMORY)
        fail(a, "out_of_memory", true, "The worker has no memory left.");
    else
        fail(a, "provider_output", false,
             "The model provider's answer was not understood.");
    json_decref(root);
    look(a);
}

static bool on_event(const char *name, const char *data, size_t len, void *arg)
{
    struct openai_answer *a = arg;

    if (a->state >= OPENAI_DONE) {
        a->after_end++;
        return false;
    }
    if (++a->events > a->max_events) {
        fail(a, "provider_limit", false,
             "The model provider's answer had more pieces than allowed.");
    } else if (strcmp(name, "error") == 0) {
        openai_fail_text(&a->failure, data, len);
        look(a);
    } else if (is_done_mark(data, len)) {
        on_done_mark(a);
    } else if (!is_blank(data, len)) {
        read_json(a, data, len);
    }
    return true;
}

/* --- the form --------------------------------------------------------------------- */

static bool has_type(const char *content_type, const char *type)
{
    return content_type && strncasecmp(content_type, type, strlen(type)) == 0;
}

void openai_answer_head(struct openai_answer *a, int status, const char *content_type)
{
    a->status = status;
    a->is_page = has_type(content_type, "text/html");
    if (status != 200)
        a->form = OPENAI_ERROR;
    else if (has_type(content_type, "text/event-stream"))
        a->form = OPENAI_STREAM;
    else if (has_type(content_type, "application/json"))
        a->form = OPENAI_WHOLE;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* By its first byte, where the headers did not say it. */
static void guess_form(struct openai_answer *a, char first)
{
    a->form = first == '{' ? OPENAI_WHOLE : OPENAI_STREAM;
    a->is_page |= first == '<';
}

static void keep(struct openai_answer *a, const char *bytes, size_t len, size_t max)
{
    size_t room = max > a->body.len ? max - a->body.len : 0;

    buf_add(&a->body, bytes, len < room ? len : room);
    if (a->body.failed)
        fail(a, "out_of_memory", true, "The worker has no memory left.");
}

static void feed_stream(struct openai_answer *a, const char *bytes, size_t len)
{
    if (openai_sse_feed(&a->sse, bytes, len, on_event, a) || a->state >= OPENAI_DONE)
        return;
    fail(a, "provider_limit", false,
         "A piece of the model provider's answer was larger than allowed.");
}

static void take(struct openai_answer *a, const char *bytes, size_t len)
{
    while (a->form == OPENAI_UNKNOWN && len > 0 && is_space(*bytes)) {
        bytes++;
        len--;
    }
    if (len == 0)
        return;
    if (a->form == OPENAI_UNKNOWN)
        guess_form(a, *bytes);
    if (a->is_page && a->form != OPENAI_ERROR)
        fail(a, "provider_output", false,
             "The model provider answered with a page, not with an answer.");
    else if (a->form == OPENAI_STREAM)
        feed_stream(a, bytes, len);
    else if (a->form == OPENAI_WHOLE)
        keep(a, bytes, len, (size_t)a->max_bytes);
    else if (a->form == OPENAI_ERROR)
        keep(a, bytes, len, ERROR_BYTES_MAX);
}

void openai_answer_feed(struct openai_answer *a, const char *bytes, size_t len)
{
    size_t room;

    if (a->state >= OPENAI_DONE) {
        a->after_end++;
        return;
    }
    room = (size_t)(a->max_bytes - a->bytes);
    a->bytes += (int64_t)len;
    take(a, bytes, len < room ? len : room);
    if (len > room && a->state < OPENAI_DONE)
        fail(a, "provider_limit", false,
             "The model provider's answer was larger than allowed.");
}

/* --- the end ---------------------------------------------------------------------- */

static void end_whole(struct openai_answer *a)
{
    read_json(a, a->body.len > 0 ? a->body.data : "", a->body.len);
    if (a->state == OPENAI_FINISHED)
        a->state = OPENAI_DONE;
}

void openai_answer_end(struct openai_answer *a, bool whole)
{
    if (a->state >= OPENAI_DONE)
        return;
    if (a->form == OPENAI_ERROR) {
        openai_fail_status(&a->failure, a->status, a->body.len > 0 ? a->body.data : "",
                           a->body.len);
        look(a);
    } else if (a->form == OPENAI_WHOLE && whole) {
        end_whole(a);
    }
    if (a->state == OPENAI_FINISHED)
        a->state = OPENAI_DONE; /* without `[DONE]`: some never say it */
    else if (a->state == OPENAI_GOING && whole)
        fail(a, "provider_incomplete", true,
             "The model provider's answer ended without a reason.");
    else if (a->state == OPENAI_GOING)
        fail(a, "provider_lost", true, "The connection to the model provider was lost.");
}

static void add_tokens(struct buf *out, const char *name, int64_t n)
{
    if (n < 0)
        return;
    buf_printf(out, "%c\"%s\":%lld", out->len > 0 ? ',' : '{', name, (long long)n);
}

void openai_usage_json(const struct openai_usage *u, struct buf *out)
{
    int64_t sum = u->input >= 0 && u->output >= 0 ? u->input + u->output : -1;

    add_tokens(out, "inputTokens", u->input);
    add_tokens(out, "outputTokens", u->output);
    add_tokens(out, "totalTokens", u->total >= 0 ? u->total : sum);
    add_tokens(out, "cachedInputTokens", u->cached);
    add_tokens(out, "reasoningTokens", u->reasoning);
    if (out->len > 0)
        buf_char(out, '}');
}

static void settle_tools(struct openai_answer *a)
{
    struct buf json;

    buf_init(&json);
    for (size_t i = 0; i < a->tools.count; i++) {
        buf_clear(&json);
        openai_tool_json(&a->tools.list[i], i, &json);
        if (json.failed)
            fail(a, "out_of_memory", true, "The worker has no memory left.");
        else
            a->voice->on_tool_call(json.data, json.len, a->arg);
    }
    buf_fini(&json);
}

void openai_answer_settle(struct openai_answer *a)
{
    struct buf usage, delta;

    settle_tools(a);
    buf_init(&usage);
    buf_init(&delta);
    openai_usage_json(&a->usage, &usage);
    if (usage.len > 0) {
        buf_str(&delta, "{\"kind\":\"usage\",");
        buf_str(&delta, usage.data + 1);
    }
    if (usage.failed || delta.failed)
        fail(a, "out_of_memory", true, "The worker has no memory left.");
    else if (delta.len > 0)
        a->voice->on_usage(delta.data, delta.len, a->arg);
    buf_fini(&usage);
    buf_fini(&delta);
}
