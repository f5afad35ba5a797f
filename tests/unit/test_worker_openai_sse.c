/* A provider's stream is read as EventSource reads one: the format cases of the Web
 * Platform Tests (eventsource/format-*), each split at every byte. */
#include "worker/agents/openai_sse.h"

#include "unit.h"

enum { MAX = 4096 };

/* "<name>:<data>|" for each event, NUL as `0`. */
static bool collect(const char *name, const char *data, size_t len, void *arg)
{
    struct buf *out = arg;

    buf_str(out, name);
    buf_char(out, ':');
    for (size_t i = 0; i < len; i++)
        buf_char(out, data[i] ? data[i] : '0');
    buf_char(out, '|');
    return true;
}

static void check_split(const char *stream, size_t len, size_t at, const char *expected)
{
    struct openai_sse s;
    struct buf out;

    openai_sse_init(&s, MAX);
    buf_init(&out);
    buf_str(&out, "");
    assert_true(openai_sse_feed(&s, stream, at, collect, &out));
    assert_true(openai_sse_feed(&s, stream + at, len - at, collect, &out));
    if (strcmp(out.data, expected) != 0)
        print_message("split at %zu of: %s\n", at, stream);
    assert_string_equal(out.data, expected);
    openai_sse_fini(&s);
    buf_fini(&out);
}

static void check_bytewise(const char *stream, size_t len, const char *expected)
{
    struct openai_sse s;
    struct buf out;

    openai_sse_init(&s, MAX);
    buf_init(&out);
    buf_str(&out, "");
    for (size_t i = 0; i < len; i++)
        assert_true(openai_sse_feed(&s, stream + i, 1, collect, &out));
    assert_string_equal(out.data, expected);
    openai_sse_fini(&s);
    buf_fini(&out);
}

static void check(const char *stream, size_t len, const char *expected)
{
    for (size_t at = 0; at <= len; at++)
        check_split(stream, len, at, expected);
    check_bytewise(stream, len, expected);
}

#define CHECK(stream, expected) check(stream, sizeof(stream) - 1, expected)

static void format_bom(void **state)
{
    (void)state;
    CHECK("\xEF\xBB\xBF"
          "data:1\n\n\xEF\xBB\xBF"
          "data:2\n\ndata:3\n\n",
          ":1|:3|");
    CHECK("\xEF\xBB\xBF\xEF\xBB\xBF"
          "data:1\n\ndata:2\n\ndata:3\n\n",
          ":2|:3|");
}

static void format_comments(void **state)
{
    char stream[600];
    char longest[256];
    int len;

    (void)state;
    memset(longest, 'x', sizeof(longest));
    longest[255] = '\0';
    len = snprintf(stream, sizeof(stream),
                   "data:1\r:%c\n:\r\ndata:2\n:%s\rdata:3\n:data:fail\r:%s\ndata:4\n\n",
                   1, longest, longest);
    check(stream, (size_t)len, ":1\n2\n3\n4|");
    CHECK("data:1\r:\0\n:\r\ndata:2\n\n", ":1\n2|");
}

static void format_field_data(void **state)
{
    (void)state;
    CHECK("data:\n\ndata\ndata\n\ndata:test\n\n", ":|:\n|:test|");
    CHECK("data:\0\n\n\n\n", ":0|");
}

static void format_field_event(void **state)
{
    (void)state;
    CHECK("event:test\ndata:x\n\ndata:x\n\n", "test:x|:x|");
    CHECK("event: \ndata:data\n\n", ":data|");
    CHECK("event:a\nevent:b\ndata:x\n\n", "b:x|");
    CHECK("event:a\n\ndata:x\n\n", ":x|"); /* without data it is none */
}

static void format_field_parsing(void **state)
{
    (void)state;
    CHECK("data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3"
          "\rdata:\r\n data:32\ndata:4\n\n",
          ":0\n 2\n1\n3\n\n4|");
    CHECK(
        "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test"
        "\n\n",
        ":test\n\ntest|");
    CHECK("data:\ttest\rdata: \ndata:test\n\n", ":\ttest\n\ntest|");
    CHECK("id: 1\nretry: 5\ndata:x\nid\n\n", ":x|");
}

static void format_newlines(void **state)
{
    (void)state;
    CHECK("data:test\r\ndata\ndata:test\r\n\r", ":test\n\ntest|");
    CHECK("data:a\r\rdata:b\r\n\r\ndata:c\n\n", ":a|:b|:c|");
    CHECK("\r\n\r\n\n\r\rdata:a\n\n", ":a|");
}

static void format_utf8(void **state)
{
    (void)state;
    CHECK("data:ok\xE2\x80\xA6\xFF\n\n", ":ok\xE2\x80\xA6\xFF|");
}

static void format_data_before_final_empty_line(void **state)
{
    (void)state;
    CHECK("retry:1000\ndata:test1\n\nid:test\ndata:test2", ":test1|");
    CHECK("data:test1\n\ndata:test2\n", ":test1|");
}

/* Not of the standard: what llama.cpp once sent. */
static void an_error_field_is_an_event(void **state)
{
    (void)state;
    CHECK("data:a\n\nerror: {\"x\":1}\n\ndata:b\n\n", ":a|error:{\"x\":1}|:b|");
    CHECK("error\n", "error:|");
    CHECK("errors: x\n\n", "");
}

static bool stop(const char *name, const char *data, size_t len, void *arg)
{
    collect(name, data, len, arg);
    return false;
}

static void a_reader_may_stop(void **state)
{
    struct openai_sse s;
    struct buf out;

    (void)state;
    openai_sse_init(&s, MAX);
    buf_init(&out);
    assert_true(openai_sse_feed(&s, "data:a\n\ndata:b\n\n", 16, stop, &out));
    assert_string_equal(out.data, ":a|");
    openai_sse_fini(&s);
    buf_fini(&out);
}

static bool is_taken(const char *line, int times, bool with_end)
{
    struct openai_sse s;
    struct buf out;
    bool ok = true;

    openai_sse_init(&s, MAX);
    buf_init(&out);
    for (int i = 0; i < times && ok; i++)
        ok = openai_sse_feed(&s, line, strlen(line), collect, &out);
    if (ok && with_end)
        ok = openai_sse_feed(&s, "\n\n", 2, collect, &out);
    openai_sse_fini(&s);
    buf_fini(&out);
    return ok;
}

static void sizes_are_limited(void **state)
{
    (void)state;
    assert_true(is_taken("x", MAX, true));
    assert_false(is_taken("x", MAX + 1, false)); /* a line without an end */
    assert_false(is_taken("data: 0123456789\n", MAX / 10, false));
    assert_true(is_taken("data: 0123456789\n\n", MAX, true));
    assert_true(is_taken(": 0123456789\n", MAX, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_bom),
        cmocka_unit_test(format_comments),
        cmocka_unit_test(format_field_data),
        cmocka_unit_test(format_field_event),
        cmocka_unit_test(format_field_parsing),
        cmocka_unit_test(format_newlines),
        cmocka_unit_test(format_utf8),
        cmocka_unit_test(format_data_before_final_empty_line),
        cmocka_unit_test(an_error_field_is_an_event),
        cmocka_unit_test(a_reader_may_stop),
        cmocka_unit_test(sizes_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
