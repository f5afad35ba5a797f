/* url: decoding, query strings and hosts. */
#include "bridge/url.h"

#include "bridge/http.h"
#include "unit.h"

static struct span span_of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void decodes(const char *in, bool plus, const char *want)
{
    char out[16];
    size_t len = 99;

    assert_true(http_decode(span_of(in), plus, out, sizeof out, &len));
    assert_string_equal(out, want);
    assert_int_equal(len, strlen(want));
}

static void test_decode(void **state)
{
    (void)state;
    decodes("", false, "");
    decodes("abc", false, "abc");
    decodes("a%20b+c", false, "a b+c");
    decodes("a%20b+c", true, "a b c");
    decodes("%C3%A4%f0%9f%87%a6", true, "ä🇦");
    decodes("123456789012345", false, "123456789012345");
}

static void test_decode_refuses(void **state)
{
    static const char *const rows[] = {
        "%",          "%4",  "%zz",    "%00",       "a%0ab",  "a%7F",
        "%ff",        "%c3", "%c3%28", "%ed%a0%80", "%c0%80", "1234567890123456",
        "%0d%0aX: y",
    };
    char out[16];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_false(http_decode(span_of(rows[i]), true, out, sizeof out, NULL));
}

static void test_query_walk(void **state)
{
    struct span query = span_of("&a=1&&b&c=&=d&e=f=g&"), name, value;
    static const char *const want[][2] = {
        {"a", "1"}, {"b", ""}, {"c", ""}, {"", "d"}, {"e", "f=g"}};
    size_t pos = 0, n = 0;

    (void)state;
    while (http_query_next(query, &pos, &name, &value)) {
        assert_true(n < COUNT(want));
        assert_int_equal(name.len, strlen(want[n][0]));
        assert_memory_equal(name.at, want[n][0], name.len);
        assert_int_equal(value.len, strlen(want[n][1]));
        assert_memory_equal(value.at, want[n][1], value.len);
        n++;
    }
    assert_int_equal(n, COUNT(want));
}

static void test_query_get(void **state)
{
    char out[8];

    (void)state;
    assert_int_equal(http_query_get(span_of(""), "a", out, sizeof out), 0);
    memset(out, '1', sizeof out);
    assert_int_equal(http_query_get(span_of("ab=1"), "a", out, sizeof out), 0);
    assert_string_equal(out, "");
    assert_int_equal(http_query_get(span_of("b=2&a=x%20y"), "a", out, sizeof out), 1);
    assert_string_equal(out, "x y");
    assert_int_equal(http_query_get(span_of("a=1&a=1"), "a", out, sizeof out), -1);
    assert_int_equal(http_query_get(span_of("a=%ff"), "a", out, sizeof out), -1);
    assert_int_equal(http_query_get(span_of("a=12345678"), "a", out, sizeof out), -1);
    assert_int_equal(http_query_get(span_of("a"), "a", out, sizeof out), 1);
    assert_string_equal(out, "");
}

static void test_hosts(void **state)
{
    static const char *const good[] = {"localhost", "a.b-c_d:1",      "127.0.0.1:65535",
                                       "[::1]",     "[fe80::1]:8080", "[::ffff:1.2.3.4]"};
    static const char *const wrong[] = {"",     ":80",    "a:",  "a:b",    "[]",
                                        "[::1", "[::1]x", "[g]", "a b",    "a/b",
                                        "u@a",  "a:1:2",  "a\"", "[::1]:", "a:123456",
                                        "ä",    "a%20",   "*",   "a,b",    "<a>"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(url_host_valid(span_of(good[i])));
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_false(url_host_valid(span_of(wrong[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),     cmocka_unit_test(test_decode_refuses),
        cmocka_unit_test(test_query_walk), cmocka_unit_test(test_query_get),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
