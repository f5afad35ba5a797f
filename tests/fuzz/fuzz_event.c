/* fuzz_event: any bytes as an event. Two events, split at a point that the input names,
 * so that merging is reached, too. What must hold:
 *  - what jansson reads as an object is never "not JSON" here, and what is accepted here
 *    jansson reads, but for its own limits (lone surrogates, NUL escapes, large numbers),
 *    and both find the same fields with the same values;
 *  - everything built from an accepted event is accepted again and keeps what it says. */
#include "fuzz.h"

#include <jansson.h>

static void check_spans(const char *json, size_t len, const struct event_view *v)
{
    const struct span spans[] = {v->type_name,  v->thread_id, v->run_id,  v->agent_id,
                                 v->message_id, v->content,   v->id_span, v->ts_span};

    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        if (spans[i].at)
            MUST(spans[i].at >= json && spans[i].at + spans[i].len <= json + len);
    }
    MUST(v->ts >= 0 && v->attempt >= 0);
    MUST(!v->thread_id.at ||
         (v->thread_id.len == 2 && !memcmp(v->thread_id.at, "t1", 2)));
    MUST(utf8_valid(json, len));
}

static void check_against_jansson(const char *json, size_t len, enum event_check r)
{
    json_error_t error;
    json_t *value;

    if (memchr(json, 0, len)) { /* jansson 2.14 skips a NUL behind a number */
        MUST(r != EVENT_OK);
        return;
    }
    value = json_loadb(json, len, JSON_ALLOW_NUL, &error);
    if (json_is_object(value))
        MUST(r != EVENT_NOT_JSON && r != EVENT_NOT_OBJECT);
    if (json_is_array(value))
        MUST(r == EVENT_NOT_OBJECT || r == EVENT_TOO_DEEP || r == EVENT_TOO_LARGE);
    if (r == EVENT_OK && !value)
        MUST(memmem(json, len, "\\u", 2) ||
             json_error_code(&error) == json_error_numeric_overflow);
    json_decref(value);
}

/* A name: what stands between the quotes is what it means. */
static void check_name(const json_t *root, const char *key, struct span got, bool ours)
{
    const json_t *value = json_object_get(root, key);

    MUST(!got.at || (json_is_string(value) && json_string_length(value) == got.len &&
                     memcmp(json_string_value(value), got.at, got.len) == 0));
    MUST(!ours || !value || got.at);
}

static void check_number(const json_t *root, const char *key, int64_t got, bool ours)
{
    const json_t *value = json_object_get(root, key);

    MUST(!got || (json_is_integer(value) && json_integer_value(value) == got));
    MUST(!ours || !value || json_integer_value(value) == got);
}

static void check_content(const json_t *root, struct span got)
{
    json_t *value =
        got.at ? json_loadb(got.at, got.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)
               : NULL;

    MUST(!got.at == !json_object_get(root, "content"));
    MUST(!got.at || json_equal(value, json_object_get(root, "content")));
    json_decref(value);
}

static void check_type(const json_t *root, const struct event_view *v)
{
    static const char *const names[] = {[EVENT_TOKEN] = "token",
                                        [EVENT_STATUS] = "status",
                                        [EVENT_DELTA] = "delta",
                                        [EVENT_DONE] = "done",
                                        [EVENT_ERROR] = "error"};
    const char *type = json_string_value(json_object_get(root, "type"));

    for (size_t i = EVENT_TOKEN; i <= EVENT_ERROR; i++)
        MUST((type && strcmp(type, names[i]) == 0 && strlen(type) == v->type_name.len) ==
             (v->type == (enum event_type)i));
}

/* Every field that the view has is the one that jansson finds, and none is missing in
 * what has a type of ours. */
static void check_fields(const char *json, size_t len, const struct event_view *v)
{
    json_t *root = json_loadb(json, len, JSON_ALLOW_NUL, NULL);
    bool ours = v->type != EVENT_OTHER;
    char id[EVENT_ID_SIZE];

    if (!root) /* its own limits, see above */
        return;
    check_type(root, v);
    check_name(root, "type", v->type_name, ours);
    check_name(root, "threadId", v->thread_id, ours);
    check_name(root, "runId", v->run_id, ours);
    check_name(root, "agentId", v->agent_id, ours);
    check_name(root, "messageId", v->message_id, ours);
    check_number(root, "ts", v->ts, ours);
    check_number(root, "attempt", v->attempt, ours);
    check_content(root, v->content);
    struct span written = {id, event_id_format(&v->id, id)};
    check_name(root, "id", event_id_zero(v->id) ? (struct span){NULL, 0} : written, ours);
    json_decref(root);
}

static void check_normalized(const char *json, size_t len)
{
    struct event_view v, again;
    struct buf out;

    buf_init(&out);
    if (event_normalize(json, len, "t1", 7, &out, &v) == EVENT_OK) {
        MUST(event_check(out.data, out.len, "t1", 2, &again) == EVENT_OK);
        MUST(again.type == v.type && again.ts == v.ts && again.attempt == v.attempt);
        MUST(again.thread_id.at && again.ts_span.at && !again.id_span.at);
        MUST(!again.has_line_break && strncmp(out.data, "{\"", 2) == 0);
    } else {
        MUST(out.len == 0);
    }
    buf_fini(&out);
}

static void check_merged(const char *a, size_t a_len, const struct event_view *av,
                         const char *b, size_t b_len, const struct event_view *bv)
{
    struct event_view v;
    struct buf out;

    if (!event_mergeable(a, a_len, av, b, b_len, bv))
        return;
    buf_init(&out);
    event_merge(&out, a, a_len, av, b, b_len, bv);
    MUST(out.len <= EVENT_MERGE_MAX_BYTES);
    MUST(event_check(out.data, out.len, "t1", 2, &v) == EVENT_OK);
    MUST(v.type == EVENT_TOKEN && v.ts == bv->ts && event_id_eq(v.id, bv->id));
    MUST(v.content.len == av->content.len + bv->content.len - 2);
    buf_fini(&out);
}

static void check_token(const char *text, size_t len)
{
    const struct event_run run = {"t1", "r", "a", "m", 1};
    struct event_view v;
    struct buf out;

    buf_init(&out);
    event_token(&out, &run, text, len, 1);
    MUST(event_check(out.data, out.len, "t1", 2, &v) ==
         (out.len > EVENT_MAX_BYTES ? EVENT_TOO_LARGE : EVENT_OK));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_view av, bv;
    enum event_check a_result, b_result;
    size_t cut = size ? data[size - 1] * size / 256 : 0;
    /* copies of the exact size, so that one byte too many is seen */
    char *a = calloc(1, size + 1), *b = calloc(1, size - cut + 1);

    MUST(a && b);
    if (size) {
        memcpy(a, data, size);
        memcpy(b, data + cut, size - cut);
    }
    a_result = event_check(a, size, "t1", 2, &av);
    check_against_jansson(a, size, a_result);
    if (a_result == EVENT_OK) {
        check_spans(a, size, &av);
        check_fields(a, size, &av);
        check_merged(a, size, &av, a, size, &av);
    }
    check_normalized(a, size);
    check_token(a, size);
    a_result = event_check(a, cut, "t1", 2, &av);
    b_result = event_check(b, size - cut, "t1", 2, &bv);
    if (a_result == EVENT_OK && b_result == EVENT_OK)
        check_merged(a, cut, &av, b, size - cut, &bv);
    MUST(utf8_whole(a, size) <= size);
    free(a);
    free(b);
    return 0;
}
