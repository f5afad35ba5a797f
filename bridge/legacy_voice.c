/* legacy_voice: our events in their words.
 *
 *   status started    thread_run_start
 *   status rewind     an assistant's message without an id: the page empties what it
 * shows token             assistant, stream_status `chunk` delta tool_call   status
 * tool_started        delta tool_result   tool_completed, … done              assistant,
 * stream_status `complete`, thread_run_end, completed error             thread_run_end,
 * status `error` with the message, failed
 *
 * jansson writes as Python's json.dumps does, with a space after colon and comma; the
 * pages rely on it. What they have no word for is not said. */
#include "bridge/legacy_voice.h"

#include "bridge/msg.h"
#include "common/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One event while it is said. */
struct speech {
    struct legacy_voice *voice;
    struct event_view view;
    int64_t sequence;
    legacy_say_fn *say;
    void *arg;
};

void legacy_voice_init(struct legacy_voice *v, const char *run_id)
{
    *v = (struct legacy_voice){.run_id = run_id};
    buf_init(&v->text);
    v->text.max = LEGACY_TEXT_MAX;
}

void legacy_voice_fini(struct legacy_voice *v)
{
    buf_fini(&v->text);
}

static void time_text(int64_t ts_ms, char out[40])
{
    time_t seconds = (time_t)(ts_ms / 1000);
    struct tm tm;
    size_t len = 0;

    if (gmtime_r(&seconds, &tm))
        len = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + len, 16, ".%03d+00:00", (int)(ts_ms % 1000));
}

/* Takes `json`. */
static char *dumped(json_t *json)
{
    char *text = json ? json_text(json, 0) : NULL;

    json_decref(json);
    return text;
}

static json_t *span_text(struct span s)
{
    return s.at ? json_stringn(s.at, s.len) : json_null();
}

/* An entry of the classic form, whose content and metadata are JSON inside strings.
 * Takes `content` and `metadata` (NULL: no memory). */
static void say_entry(struct speech *s, const char *type, struct span message_id,
                      char *content, char *metadata)
{
    bool is_llm = strcmp(type, "assistant") == 0;
    char when[40], *text = NULL;
    struct msg *m = NULL;
    struct legacy_entry entry = {.end = LEGACY_RUNNING};

    time_text(s->view.ts, when);
    if (content && metadata)
        text =
            dumped(json_pack("{s:I, s:o, s:o, s:s, s:b, s:s, s:s, s:s, s:s}", "sequence",
                             (json_int_t)s->sequence, "message_id", span_text(message_id),
                             "thread_id", span_text(s->view.thread_id), "type", type,
                             "is_llm_message", is_llm, "content", content, "metadata",
                             metadata, "created_at", when, "updated_at", when));
    if (text)
        m = legacy_entry_msg(text, strlen(text), &entry, NULL);
    s->say(s->arg, m);
    free(content);
    free(metadata);
    free(text);
}

/* `text` is a piece of JSON, what stands between a string's quotes: it is said as it was
 * written, half a surrogate pair too. */
static void say_assistant(struct speech *s, const char *stream_status,
                          struct span message_id, const char *text, size_t len)
{
    struct buf content;

    buf_init(&content);
    buf_str(&content, "{\"role\": \"assistant\", \"content\": \"");
    buf_add(&content, text, len);
    buf_str(&content, "\"}");
    say_entry(s, "assistant", message_id, buf_take(&content, NULL),
              dumped(json_pack("{s:s, s:s}", "stream_status", stream_status,
                               "thread_run_id", s->voice->run_id)));
}

static void say_status(struct speech *s, json_t *content)
{
    say_entry(s, "status", (struct span){NULL, 0}, dumped(content),
              dumped(json_pack("{s:s}", "thread_run_id", s->voice->run_id)));
}

static void on_token(struct speech *s)
{
    struct span content = s->view.content;

    if (!content.at || content.len < 2 || content.at[0] != '"')
        return;
    buf_add(&s->voice->text, content.at + 1, content.len - 2);
    say_assistant(s, "chunk", (struct span){NULL, 0}, content.at + 1, content.len - 2);
}

static void on_status(struct speech *s, const json_t *content)
{
    const char *status = json_string_value(json_object_get(content, "status"));

    bool anew = status && strcmp(status, "rewind") == 0;
    bool started = status && strcmp(status, "started") == 0;

    if (started) {
        say_status(s, json_pack("{s:s, s:s}", "status_type", "thread_run_start",
                                "thread_run_id", s->voice->run_id));
    }
    if (anew || (started && s->voice->text.len)) { /* a `reset` lies between */
        buf_clear(&s->voice->text);
        s->voice->tools = 0;
        say_assistant(s, "complete", (struct span){NULL, 0}, "", 0);
    }
}

/* Their arguments are text. */
static json_t *arguments_of(const json_t *delta)
{
    json_t *given = json_object_get(delta, "arguments");
    char *text = json_is_object(given) ? json_text(given, 0) : NULL;
    json_t *result = text                    ? json_string(text)
                     : json_is_string(given) ? json_incref(given)
                                             : json_string("{}");
    free(text);
    return result;
}

static json_t *member_or_null(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);

    return value ? json_incref(value) : json_null();
}

static void on_delta(struct speech *s, const json_t *content)
{
    const char *kind = json_string_value(json_object_get(content, "kind"));
    struct legacy_voice *v = s->voice;

    if (kind && strcmp(kind, "tool_call") == 0) {
        say_status(s, json_pack("{s:s, s:s, s:o, s:o, s:o, s:I}", "role", "assistant",
                                "status_type", "tool_started", "tool_call_id",
                                member_or_null(content, "toolCallId"), "function_name",
                                member_or_null(content, "name"), "arguments",
                                arguments_of(content), "tool_index",
                                (json_int_t)v->tools++));
    } else if (kind && strcmp(kind, "tool_result") == 0) {
        bool failed = json_is_true(json_object_get(content, "isError"));
        say_status(s, json_pack("{s:s, s:s, s:o, s:o, s:I}", "role", "assistant",
                                "status_type", failed ? "tool_failed" : "tool_completed",
                                "tool_call_id", member_or_null(content, "toolCallId"),
                                "result", member_or_null(content, "result"), "tool_index",
                                (json_int_t)(v->tools ? v->tools - 1 : 0)));
    }
}

static void say_run_end(struct speech *s)
{
    say_status(s, json_pack("{s:s, s:s}", "status_type", "thread_run_end",
                            "thread_run_id", s->voice->run_id));
}

static enum legacy_end on_done(struct speech *s, const json_t *content)
{
    const char *why = json_string_value(json_object_get(content, "finishReason"));
    const struct buf *text = &s->voice->text;
    enum legacy_end end =
        why && strcmp(why, "cancelled") == 0 ? LEGACY_STOPPED : LEGACY_COMPLETED;

    if (text->len && !text->failed)
        say_assistant(s, "complete", s->view.message_id, text->data, text->len);
    say_run_end(s);
    s->say(s->arg, legacy_end_msg(end));
    return end;
}

static enum legacy_end on_error(struct speech *s, const json_t *content)
{
    const char *message = json_string_value(json_object_get(content, "message"));

    if (!message)
        message = json_string_value(content); /* plain text is accepted here */
    say_run_end(s);
    s->say(s->arg, legacy_status_msg("error", message));
    s->say(s->arg, legacy_end_msg(LEGACY_FAILED));
    return LEGACY_FAILED;
}

enum legacy_end legacy_voice_say(struct legacy_voice *v, const struct msg *m,
                                 legacy_say_fn *say, void *arg)
{
    struct speech s = {.voice = v, .say = say, .arg = arg};
    enum legacy_end end = LEGACY_RUNNING;
    json_t *content = NULL;

    if (event_check(msg_json(m), m->json_len, NULL, 0, &s.view) != EVENT_OK)
        return LEGACY_RUNNING;
    s.sequence = event_id_zero(m->id) ? ++v->sequence : (int64_t)m->id.n;
    if (s.view.content.at && s.view.type != EVENT_TOKEN) {
        enum json_trouble trouble;
        content = json_read(s.view.content.at, s.view.content.len,
                            JSON_DECODE_ANY | JSON_ALLOW_NUL, &trouble);
        if (trouble == JSON_NO_MEMORY) { /* half of it must not look whole */
            say(arg, NULL);
            return LEGACY_RUNNING;
        }
    }
    switch (s.view.type) {
    case EVENT_OTHER:
        break;
    case EVENT_TOKEN:
        on_token(&s);
        break;
    case EVENT_STATUS:
        on_status(&s, content);
        break;
    case EVENT_DELTA:
        on_delta(&s, content);
        break;
    case EVENT_DONE:
        end = on_done(&s, content);
        break;
    case EVENT_ERROR:
        end = on_error(&s, content);
        break;
    }
    json_decref(content);
    return end;
}
