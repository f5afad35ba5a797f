/* trace: what is taken for an id, and what of a message's metadata reaches an event. */
#include "common/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static void ids(void **state)
{
    static const char *const bad[] = {"",    "a b",  "a\"b", "a\\b", "a\n",
                                      "a,b", "\xc3", "<a>",  "a;b",  "{a}"};
    char longest[REQUEST_ID_MAX + 1];

    (void)state;
    assert_true(request_id_valid("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", 36));
    assert_true(request_id_valid("1-67891233:abc/D+e=@f.g_", 24));
    for (size_t i = 0; i < COUNT(bad); i++)
        if (request_id_valid(bad[i], strlen(bad[i])))
            fail_msg("'%s' is taken", bad[i]);
    assert_false(request_id_valid("a\0b", 3));
    memset(longest, 'a', sizeof longest);
    assert_true(request_id_valid(longest, REQUEST_ID_MAX));
    assert_false(request_id_valid(longest, REQUEST_ID_MAX + 1));
}

static void parents(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        PARENT "-",
    };

    (void)state;
    assert_true(traceparent_valid(PARENT, strlen(PARENT)));
    for (size_t i = 0; i < COUNT(bad); i++)
        if (traceparent_valid(bad[i], strlen(bad[i])))
            fail_msg("'%s' is taken", bad[i]);
    for (size_t n = 0; n < strlen(PARENT); n++)
        assert_false(traceparent_valid(PARENT, n));
}

static void metadata(void **state)
{
    static const struct {
        const char *json, *members;
    } rows[] = {
        {NULL, ""},
        {"", ""},
        {"{}", ""},
        {"[]", ""},
        {"{\"trace\":1}", ""},
        {"{\"trace\":{\"requestId\":7,\"traceparent\":null}}", ""},
        {"{\"trace\":{\"requestId\":\"a\\\"b\",\"traceparent\":\"x\"}}", ""},
        {"{\"trace\":{\"requestId\":\"a-1\"}}", ",\"requestId\":\"a-1\""},
        {"{\"a\":1,\"trace\":{\"traceparent\":\"" PARENT "\",\"requestId\":\"b\"}}",
         ",\"requestId\":\"b\",\"traceparent\":\"" PARENT "\""},
    };
    struct buf out;

    (void)state;
    buf_init(&out);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;
        memset(&t, 'x', sizeof t);
        trace_of_metadata(&t, rows[i].json);
        buf_clear(&out);
        buf_str(&out, "");
        trace_members(&t, &out);
        if (out.len != strlen(rows[i].members) ||
            memcmp(out.data ? out.data : "", rows[i].members, out.len) != 0)
            fail_msg("row %zu: %.*s", i, (int)out.len, out.data);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(parents),
        cmocka_unit_test(metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
