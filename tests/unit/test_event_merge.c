/* Events made here: a run's own, an outsider's, merged neighbours. */
#include "common/event.h"
#include "common/json.h"

#include "unit.h"

static const struct event_run run = {"t1", "r1", "demo", "m1", 2};

static void encodes_events_of_a_run(void **state)
{
    struct event_view v;
    struct buf b;

    (void)state;
    buf_init(&b);
    event_token(&b, &run, "a\"\n\0\xFFÖ", 7, 1732100000123);
    assert_string_equal(b.data,
                        "{\"type\":\"token\",\"threadId\":\"t1\","
                        "\"content\":\"a\\\"\\n\xEF\xBF\xBD\xEF\xBF\xBDÖ\","
                        "\"ts\":1732100000123,\"runId\":\"r1\",\"agentId\":\"demo\","
                        "\"messageId\":\"m1\",\"attempt\":2}");
    assert_int_equal(event_check(b.data, b.len, "t1", 2, &v), EVENT_OK);
    assert_int_equal(v.type, EVENT_TOKEN);
    buf_clear(&b);
    event_json(&b, &run, EVENT_STATUS, "{\"status\":\"started\"}", 20, 5);
    assert_string_equal(b.data, "{\"type\":\"status\",\"threadId\":\"t1\","
                                "\"content\":{\"status\":\"started\"},\"ts\":5,"
                                "\"runId\":\"r1\",\"agentId\":\"demo\","
                                "\"messageId\":\"m1\",\"attempt\":2}");
    buf_clear(&b);
    event_json(&b, &run, EVENT_OTHER, "{}", 2, 5);
    assert_true(b.failed);
    buf_fini(&b);
}

/* Whatever bytes an agent writes, what we publish is an event. */
static void encodes_all_bytes(void **state)
{
    struct event_view v;
    char bytes[3];
    struct buf b;

    (void)state;
    buf_init(&b);
    for (unsigned i = 0; i < 65536; i++) {
        bytes[0] = (char)(i >> 8);
        bytes[1] = (char)i;
        bytes[2] = (char)0x80;
        buf_clear(&b);
        event_token(&b, &run, bytes, 3, 1);
        assert_false(b.failed);
        assert_int_equal(event_check(b.data, b.len, "t1", 2, &v), EVENT_OK);
    }
    buf_fini(&b);
}

static const struct {
    const char *in;
    enum event_check result;
    const char *out;
} outside[] = {
    {"{\"type\":\"token\",\"content\":\"hi\"}", EVENT_OK,
     "{\"type\":\"token\",\"content\":\"hi\",\"threadId\":\"t1\",\"ts\":77}"},
    {"{ \"id\" : \"5-1\" ,\n\"type\":\"delta\", \"content\" : { \"kind\" : \"a  b\\\" \" "
     ",\r"
     "\"x\" : [ 1 , 2 ] } }\n",
     EVENT_OK,
     "{\"type\":\"delta\",\"content\":{\"kind\":\"a  b\\\" \",\"x\":[1,2]},"
     "\"threadId\":\"t1\",\"ts\":77}"},
    {"{\"ts\":5,\"threadId\":\"t1\",\"type\":\"error\",\"content\":\"x\",\"id\":\"9-9\","
     "\"mine\":{\"id\":1}}",
     EVENT_OK,
     "{\"ts\":5,\"threadId\":\"t1\",\"type\":\"error\",\"content\":\"x\","
     "\"mine\":{\"id\":1}}"},
    {"{\"type\":\"done\",\"content\":{},\"runId\":\"r9\"}", EVENT_OK,
     "{\"type\":\"done\",\"content\":{},\"runId\":\"r9\",\"threadId\":\"t1\",\"ts\":77}"},
    {"{\"type\":\"test\",\"content\":\"hi\"}", EVENT_BAD_FIELD, NULL},
    {"{\"content\":\"hi\"}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"token\"}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"token\",\"content\":{}}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"delta\",\"content\":\"x\"}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"status\",\"content\":7}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"token\",\"content\":\"hi\",\"ts\":\"x\"}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"token\",\"content\":\"hi\",\"id\":\"bad\"}", EVENT_BAD_FIELD, NULL},
    {"{\"type\":\"token\",\"content\":\"hi\",\"threadId\":\"t2\"}", EVENT_WRONG_THREAD,
     NULL},
    {"[]", EVENT_NOT_OBJECT, NULL},
    {"{}x", EVENT_NOT_JSON, NULL},
};

static void brings_outside_events_into_shape(void **state)
{
    struct event_view v, again;
    struct buf b;

    (void)state;
    for (size_t i = 0; i < COUNT(outside); i++) {
        const char *in = outside[i].in;
        buf_init(&b);
        buf_str(&b, "kept");
        assert_int_equal(event_normalize(in, strlen(in), "t1", 77, &b, &v),
                         outside[i].result);
        assert_string_equal(b.data + 4, outside[i].out ? outside[i].out : "");
        assert_memory_equal(b.data, "kept", 4);
        if (outside[i].out) {
            assert_true(event_id_zero(v.id) && !v.id_span.at && v.ts > 0);
            assert_int_equal(event_check(b.data + 4, b.len - 4, "t1", 2, &again),
                             EVENT_OK);
            assert_true(event_id_zero(again.id) && !again.has_line_break);
        }
        buf_fini(&b);
    }
}

/* With the id that the script puts in, it must still be an event. */
static void leaves_room_for_the_id(void **state)
{
    struct event_view v;
    struct buf in, out;

    (void)state;
    buf_init(&in);
    buf_init(&out);
    buf_str(&in, "{\"type\":\"token\",\"content\":\"");
    while (!in.failed && in.len < EVENT_MAX_BYTES - EVENT_ID_ROOM - 25)
        buf_char(&in, 'x');
    buf_str(&in, "\"}");
    assert_false(in.failed);
    assert_int_equal(event_normalize(in.data, in.len, "t1", 1, &out, &v), EVENT_OK);
    assert_int_equal(out.len, EVENT_MAX_BYTES - EVENT_ID_ROOM);
    buf_clear(&out);
    assert_int_equal(event_normalize(in.data, in.len, "t1", 10, &out, &v),
                     EVENT_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_fini(&in);
    buf_fini(&out);
}

/* --- merging ----------------------------------------------------------------- */

static bool merge(const char *a, const char *b, struct buf *out)
{
    struct event_view av, bv;

    assert_int_equal(event_check(a, strlen(a), "t1", 2, &av), EVENT_OK);
    assert_int_equal(event_check(b, strlen(b), "t1", 2, &bv), EVENT_OK);
    buf_clear(out);
    if (!event_mergeable(a, strlen(a), &av, b, strlen(b), &bv))
        return false;
    event_merge(out, a, strlen(a), &av, b, strlen(b), &bv);
    return true;
}

static const struct {
    const char *a, *b, *merged; /* NULL: must not be merged */
} pairs[] = {
    {"{\"id\":\"5-9\",\"type\":\"token\",\"content\":\"Hel\",\"ts\":9,\"runId\":\"r\"}",
     "{\"id\":\"5-10\",\"type\":\"token\",\"content\":\"lo\",\"ts\":10,\"runId\":\"r\"}",
     "{\"id\":\"5-10\",\"type\":\"token\",\"content\":\"Hello\",\"ts\":10,\"runId\":"
     "\"r\"}"},
    {"{\"ts\":1,\"content\":\"\\ud83d\",\"type\":\"token\",\"id\":\"5-1\"}",
     "{\"ts\":2,\"content\":\"\\ude00\\\"\",\"type\":\"token\",\"id\":\"5-2\"}",
     "{\"ts\":2,\"content\":\"\\ud83d\\ude00\\\"\",\"type\":\"token\",\"id\":\"5-2\"}"},
    {"{\"type\":\"token\",\"content\":\"\"}", "{\"type\":\"token\",\"content\":\"\"}",
     "{\"type\":\"token\",\"content\":\"\"}"},
    {"{\"type\":\"token\",\"content\":\"a\",\"x\":[1]}",
     "{\"type\":\"token\",\"content\":\"b\",\"x\":[1]}",
     "{\"type\":\"token\",\"content\":\"ab\",\"x\":[1]}"},
    /* any other difference */
    {"{\"type\":\"token\",\"content\":\"a\",\"x\":[1]}",
     "{\"type\":\"token\",\"content\":\"b\",\"x\":[2]}", NULL},
    {"{\"type\":\"token\",\"content\":\"a\",\"attempt\":1}",
     "{\"type\":\"token\",\"content\":\"b\",\"attempt\":2}", NULL},
    {"{\"type\":\"token\",\"content\":\"a\",\"runId\":\"r\"}",
     "{\"type\":\"token\",\"content\":\"b\"}", NULL},
    {"{\"id\":\"5-1\",\"type\":\"token\",\"content\":\"a\"}",
     "{\"type\":\"token\",\"content\":\"b\"}", NULL},
    {"{\"type\":\"token\",\"content\":\"a\"}",
     "{\"id\":\"5-1\",\"type\":\"token\",\"content\":\"b\"}", NULL},
    {"{\"type\":\"token\",\"ts\":1,\"content\":\"a\"}",
     "{\"type\":\"token\",\"content\":\"b\",\"ts\":1}", NULL},
    {"{\"type\":\"token\",\"content\":\"a\"}", "{\"type\":\"token\", \"content\":\"b\"}",
     NULL},
    {"{\"type\":\"delta\",\"content\":\"a\"}", "{\"type\":\"delta\",\"content\":\"b\"}",
     NULL},
    {"{\"type\":\"token\",\"content\":\"a\"}", "{\"type\":\"done\",\"content\":\"b\"}",
     NULL},
    {"{\"type\":\"token\"}", "{\"type\":\"token\"}", NULL},
    {"{\"type\":\"x\",\"content\":\"a\"}", "{\"type\":\"x\",\"content\":\"b\"}", NULL},
};

static void merges_only_equal_neighbours(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    for (size_t i = 0; i < COUNT(pairs); i++) {
        assert_int_equal(merge(pairs[i].a, pairs[i].b, &out), pairs[i].merged != NULL);
        if (pairs[i].merged)
            assert_string_equal(out.data, pairs[i].merged);
    }
    buf_fini(&out);
}

/* Any text, in any pieces, merged one by one: the text, byte for byte, up to the limit.
 */
static void merging_keeps_the_text(void **state)
{
    static const char text[] = "Wien \"ist\"\tdie\nHauptstadt \\ 🇦🇹 漢字 ";
    struct buf sum, next, merged, expected;
    struct event_view v, nv;
    json_t *parsed;
    size_t pieces = 0;

    (void)state;
    buf_init(&sum);
    buf_init(&next);
    buf_init(&merged);
    buf_init(&expected);
    event_token(&sum, &run, "", 0, 1);
    assert_false(sum.failed);
    for (;; pieces++) {
        size_t len = pieces % 2 ? strlen(text) : utf8_whole(text, pieces % strlen(text));
        buf_clear(&next);
        event_token(&next, &run, text, len, (int64_t)pieces);
        assert_false(next.failed);
        event_check(sum.data, sum.len, "t1", 2, &v);
        event_check(next.data, next.len, "t1", 2, &nv);
        if (!event_mergeable(sum.data, sum.len, &v, next.data, next.len, &nv))
            break;
        buf_clear(&merged);
        event_merge(&merged, sum.data, sum.len, &v, next.data, next.len, &nv);
        buf_clear(&sum);
        buf_add(&sum, merged.data, merged.len);
        buf_add(&expected, text, len);
        assert_true(sum.len <= EVENT_MERGE_MAX_BYTES);
    }
    assert_true(pieces > 1000 && sum.len > EVENT_MERGE_MAX_BYTES - 300);
    parsed = json_read(sum.data, sum.len, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(parsed, "content")),
                        expected.data);
    assert_int_equal(json_integer_value(json_object_get(parsed, "ts")), pieces - 1);
    json_decref(parsed);
    buf_fini(&sum);
    buf_fini(&next);
    buf_fini(&merged);
    buf_fini(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_events_of_a_run),
        cmocka_unit_test(encodes_all_bytes),
        cmocka_unit_test(brings_outside_events_into_shape),
        cmocka_unit_test(leaves_room_for_the_id),
        cmocka_unit_test(merges_only_equal_neighbours),
        cmocka_unit_test(merging_keeps_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
