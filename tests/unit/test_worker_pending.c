/* What waits grows together when it may, keeps its order, and loses nothing. */
#include "worker/pending.h"

#include "unit.h"

#include "common/json.h"
#include "common/utf8.h"

static const struct event_run names = {.thread_id = "t1",
                                       .run_id = "r1",
                                       .agent_id = "a1",
                                       .message_id = "m1",
                                       .attempt = 2};

static json_t *event_at(const struct batch *b, size_t i)
{
    size_t from = i > 0 ? b->ends[i - 1] : 0;
    json_t *ev = json_read(b->data.data + from, b->ends[i] - from, 0, NULL);

    assert_non_null(ev);
    return ev;
}

static void assert_token(const struct batch *b, size_t i, const char *text)
{
    json_t *ev = event_at(b, i);

    assert_string_equal(json_string_value(json_object_get(ev, "type")), "token");
    assert_string_equal(json_string_value(json_object_get(ev, "content")), text);
    assert_int_equal(json_integer_value(json_object_get(ev, "attempt")), 2);
    json_decref(ev);
}

static void text_merges_around_others(void **state)
{
    struct pending p;
    struct batch b;

    (void)state;
    pending_init(&p);
    pending_text(&p, "Hel", 3, 1);
    assert_false(p.urgent);
    pending_text(&p, "lo", 2, 2);
    pending_json(&p, EVENT_STATUS, "{\"status\":\"working\"}", 20, 3);
    assert_true(p.urgent);
    pending_text(&p, "wor", 3, 4);
    pending_text(&p, "ld", 2, 5);
    assert_int_equal(p.count, 3);
    assert_int_equal(p.bytes, 30);
    assert_true(pending_take(&p, &names, 100, &b));
    assert_int_equal(b.count, 3);
    assert_token(&b, 0, "Hello");
    assert_token(&b, 2, "world");
    assert_int_equal(p.count, 0);
    assert_int_equal(p.bytes, 0);
    assert_false(p.urgent);
    batch_fini(&b);
}

static void takes_no_more_than_asked(void **state)
{
    struct pending p;
    struct batch b;

    (void)state;
    pending_init(&p);
    for (int i = 0; i < 5; i++)
        pending_json(&p, EVENT_DELTA, "{\"kind\":\"x\"}", 12, i);
    assert_true(pending_take(&p, &names, 2, &b));
    assert_int_equal(b.count, 2);
    assert_int_equal(p.count, 3);
    assert_true(p.urgent);
    batch_fini(&b);
    pending_clear(&p);
    assert_int_equal(p.count, 0);
}

static void a_seal_fixes_the_count(void **state)
{
    struct pending p;

    (void)state;
    pending_init(&p);
    pending_text(&p, "a", 1, 1);
    pending_seal(&p);
    assert_int_equal(p.count, 1);
    pending_text(&p, "b", 1, 1);
    assert_int_equal(p.count, 2);
    pending_clear(&p);
}

/* Pieces of every size: whole characters in each event, none too large, all of it. */
static void long_text_is_cut_between_characters(void **state)
{
    static const char piece[] = "aß日🎈";
    struct buf all, got;
    struct pending p;
    struct batch b;

    (void)state;
    buf_init(&all);
    buf_init(&got);
    while (!all.failed && all.len < 3 * PENDING_TOKEN_MAX)
        buf_str(&all, piece);
    for (size_t head = 0; head < 12; head++) {
        pending_init(&p);
        pending_text(&p, "xxxxxxxxxxxx", head, 1);
        pending_text(&p, all.data, all.len, 1);
        assert_false(p.failed);
        assert_true(pending_take(&p, &names, 100, &b));
        assert_in_range(b.count, 4, 5);
        buf_clear(&got);
        for (size_t i = 0; i < b.count; i++) {
            json_t *ev = event_at(&b, i);
            const char *text = json_string_value(json_object_get(ev, "content"));
            assert_true(strlen(text) <= PENDING_TOKEN_MAX);
            buf_str(&got, text);
            json_decref(ev);
        }
        assert_int_equal(got.len, head + all.len);
        assert_memory_equal(got.data + head, all.data, all.len);
        batch_fini(&b);
    }
    buf_fini(&all);
    buf_fini(&got);
}

static void the_worst_text_fits_into_an_event(void **state)
{
    char *text = malloc(PENDING_TOKEN_MAX);
    struct pending p;
    struct batch b;

    (void)state;
    assert_non_null(text);
    memset(text, 1, PENDING_TOKEN_MAX); /* six bytes each when escaped */
    pending_init(&p);
    pending_text(&p, text, PENDING_TOKEN_MAX, 1);
    assert_true(pending_take(&p, &names, 100, &b));
    for (size_t i = 0; i < b.count; i++)
        assert_true(b.ends[i] - (i ? b.ends[i - 1] : 0) <=
                    EVENT_MAX_BYTES - EVENT_ID_ROOM);
    batch_fini(&b);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_merges_around_others),
        cmocka_unit_test(takes_no_more_than_asked),
        cmocka_unit_test(a_seal_fixes_the_count),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(the_worst_text_fits_into_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
