/* All that was made, in few events: text and reasoning whole, steps as they were. */
#include "common/json.h"
#include "worker/fold.h"

#include "unit.h"

static const struct event_run names = {.thread_id = "t1",
                                       .run_id = "r1",
                                       .agent_id = "a1",
                                       .message_id = "m1",
                                       .attempt = 1};

static void delta(struct fold *f, const char *kind, const char *json)
{
    fold_delta(f, kind, json, strlen(json));
}

/* "type:what" of each event, joined by spaces */
static void pour(const struct fold *f, struct buf *out)
{
    struct pending p;
    struct batch b;
    size_t from = 0;

    pending_init(&p);
    fold_pour(f, &p, 1);
    assert_true(pending_take(&p, &names, SIZE_MAX, &b));
    buf_clear(out);
    for (size_t i = 0; i < b.count; i++) {
        json_t *ev = json_read(b.data.data + from, b.ends[i] - from, 0, NULL);
        json_t *content = json_object_get(ev, "content");
        const char *kind = json_string_value(json_object_get(content, "kind"));
        const char *status = json_string_value(json_object_get(content, "status"));
        const char *text = json_string_value(json_object_get(content, "text"));
        buf_printf(out, "%s%s:%s", i ? " " : "",
                   json_string_value(json_object_get(ev, "type")),
                   json_is_string(content) ? json_string_value(content)
                   : status                ? status
                   : text                  ? text
                                           : kind);
        json_decref(ev);
        from = b.ends[i];
    }
    batch_fini(&b);
}

static void an_empty_fold_is_a_rewind(void **state)
{
    struct fold f;
    struct buf out;

    (void)state;
    fold_init(&f);
    buf_init(&out);
    pour(&f, &out);
    assert_string_equal(out.data, "status:rewind");
    fold_fini(&f);
    buf_fini(&out);
}

static void everything_in_few_events(void **state)
{
    struct fold f;
    struct buf out;

    (void)state;
    fold_init(&f);
    buf_init(&out);
    fold_status(&f, "{\"status\":\"thinking\"}", 21);
    fold_reasoning(&f, "hm", 2);
    fold_text(&f, "Hel", 3);
    fold_reasoning(&f, "m!", 2);
    delta(&f, "tool_call", "{\"kind\":\"tool_call\"}");
    delta(&f, "progress", "{\"kind\":\"progress\",\"done\":1}");
    delta(&f, "activity", "{\"kind\":\"activity\"}");
    delta(&f, "tool_result", "{\"kind\":\"tool_result\"}");
    fold_status(&f, "{\"status\":\"typing\"}", 19);
    fold_text(&f, "lo", 2);
    pour(&f, &out);
    assert_string_equal(out.data,
                        "status:rewind delta:hmm! delta:tool_call delta:tool_result "
                        "status:typing token:Hello");
    assert_false(fold_failed(&f));
    fold_fini(&f);
    buf_fini(&out);
}

static void long_reasoning_is_cut_between_characters(void **state)
{
    struct fold f;
    struct pending p;
    struct buf text;

    (void)state;
    fold_init(&f);
    buf_init(&text);
    while (!text.failed && text.len < 2 * PENDING_TOKEN_MAX)
        buf_str(&text, "日");
    fold_reasoning(&f, text.data, text.len);
    pending_init(&p);
    fold_pour(&f, &p, 1);
    assert_int_equal(p.count, 1 + 3);
    pending_clear(&p);
    buf_fini(&text);
    fold_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_fold_is_a_rewind),
        cmocka_unit_test(everything_in_few_events),
        cmocka_unit_test(long_reasoning_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
