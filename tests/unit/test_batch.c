/* batch: the events of a publishing request. */
#include "bridge/batch.h"

#include "unit.h"

static struct batch b;
static struct batch_fault fault;

static bool fill(const char *json)
{
    /* an exact copy, so that a sanitizer sees one byte too many */
    size_t len = strlen(json);
    char *copy = malloc(len ? len : 1);
    bool ok;

    memcpy(copy, json, len);
    batch_init(&b);
    ok = batch_fill(&b, copy, len, "t1", 5, &fault);
    free(copy);
    return ok;
}

static void event_is(size_t i, const char *want)
{
    assert_true(i < b.count);
    assert_int_equal(b.events[i].len, strlen(want));
    assert_memory_equal(b.events[i].at, want, b.events[i].len);
}

static void test_one(void **state)
{
    (void)state;
    assert_true(fill(" \r\n\t{\"type\":\"token\",\"content\":\"a\"} \n"));
    assert_int_equal(b.count, 1);
    event_is(0, "{\"type\":\"token\",\"content\":\"a\",\"threadId\":\"t1\",\"ts\":5}");
    assert_int_equal(b.runs.len, 0);
    batch_fini(&b);
}

static void test_array(void **state)
{
    (void)state;
    assert_true(
        fill("[ {\"id\":\"9-9\",\"type\":\"token\",\"content\":\"]}{[,\\\"\\\\\"},\n"
             "{\"type\":\"delta\",\"content\":{\"n\":[1.10,{\"a\":[]}],\"big\":"
             "12345678901234567890},"
             "\"ts\":7,\"threadId\":\"t1\",\"runId\":\"r2\"} , "
             "{\"type\":\"token\",\"content\":\"\",\"runId\":\"r1\",\"ts\":7},"
             "{\"type\":\"token\",\"content\":\"\",\"runId\":\"r2\",\"ts\":7} ]"));
    assert_int_equal(b.count, 4);
    event_is(0, "{\"type\":\"token\",\"content\":\"]}{[,\\\"\\\\\",\"threadId\":\"t1\","
                "\"ts\":5}");
    event_is(1, "{\"type\":\"delta\",\"content\":{\"n\":[1.10,{\"a\":[]}],"
                "\"big\":12345678901234567890},\"ts\":7,\"threadId\":\"t1\","
                "\"runId\":\"r2\"}");
    assert_string_equal(b.runs.data, "r2 r1");
    batch_fini(&b);
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *code;
    } rows[] = {
        {"[]", "no_events"},
        {"[ ]", "no_events"},
        {"{}", "bad_event"},
        {"[1]", "bad_event"},
        {"[[]]", "bad_event"},
        {"[{\"type\":\"token\",\"content\":\"a\"},2]", "bad_event"},
        {"{\"type\":\"other\",\"content\":\"a\"}", "bad_event"},
        {"{\"type\":\"token\",\"content\":1}", "bad_event"},
        {"{\"type\":\"token\",\"content\":\"a\",\"threadId\":\"t2\"}", "bad_event"},
        {"{\"type\":\"token\",\"content\":\"a\",\"runId\":\"a b\"}", "bad_event"},
        {"{\"type\":\"token\",\"content\":\"a\",\"runId\":\"\"}", "bad_event"},
        {"{\"type\":\"token\",\"content\":\"a\",\"runId\":5}", "bad_event"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (fill(rows[i].json) || strcmp(fault.code, rows[i].code) != 0)
            fail_msg("%s", rows[i].json);
        batch_fini(&b);
    }
    assert_false(fill("[{\"type\":\"token\",\"content\":\"a\"},{}]"));
    assert_non_null(strstr(fault.message, "Event 2: "));
    batch_fini(&b);
}

static void test_count(void **state)
{
    static const char one[] = "{\"type\":\"token\",\"content\":\"a\"}";
    char text[BATCH_MAX * sizeof one + 200] = "[";

    (void)state;
    for (int i = 0; i < BATCH_MAX; i++) {
        strcat(text, i ? "," : "");
        strcat(text, one);
    }
    size_t len = strlen(text);
    strcpy(text + len, "]");
    assert_true(fill(text));
    assert_int_equal(b.count, BATCH_MAX);
    batch_fini(&b);
    snprintf(text + len, sizeof text - len, ",%s]", one);
    assert_false(fill(text));
    assert_string_equal(fault.code, "too_many_events");
    batch_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
