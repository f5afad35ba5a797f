#include "common/buf.h"

#include "unit.h"

static void appends_and_ends_with_nul(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b);
    assert_null(b.data);
    buf_str(&b, "");
    assert_string_equal(b.data, "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%03d", i);
    buf_char(&b, '!');
    buf_add(&b, "\0x", 2);
    assert_false(b.failed);
    assert_int_equal(b.len, 3003);
    assert_memory_equal(b.data, "000001002", 9);
    assert_memory_equal(b.data + 3000, "!\0x\0", 4);
    buf_fini(&b);
}

static void fails_once_and_stays_failed(void **state)
{
    struct buf b = {.max = 10};

    (void)state;
    buf_str(&b, "12345");
    buf_str(&b, "67890");
    assert_false(b.failed);
    buf_char(&b, 'x');
    assert_true(b.failed);
    assert_string_equal(b.data, "1234567890");
    buf_consume(&b, 5);
    buf_char(&b, 'x');
    assert_string_equal(b.data, "67890");
    assert_null(buf_take(&b, NULL));
    buf_clear(&b);
    assert_false(b.failed);
    buf_printf(&b, "%s", "abc");
    assert_string_equal(b.data, "abc");
    assert_false(buf_reserve(&b, SIZE_MAX));
    buf_fini(&b);
    assert_int_equal(b.max, 10);
}

static void takes_and_consumes(void **state)
{
    struct buf b;
    size_t len;
    char *data;

    (void)state;
    buf_init(&b);
    data = buf_take(&b, &len);
    assert_string_equal(data, "");
    assert_int_equal(len, 0);
    free(data);
    buf_str(&b, "hello world");
    buf_consume(&b, 0);
    buf_consume(&b, 6);
    assert_string_equal(b.data, "world");
    buf_consume(&b, 99);
    assert_string_equal(b.data, "");
    buf_str(&b, "again");
    data = buf_take(&b, NULL);
    assert_string_equal(data, "again");
    assert_null(b.data);
    free(data);
    buf_consume(&b, 1);
    buf_clear(&b);
    buf_fini(&b);
}

static void writes_json_strings(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
        {"\b\f\n\r\t\x01\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
        {"a\0b", 3,
         "\"a\xEF\xBF\xBD"
         "b\""},
        {"Österreich 🇦🇹 漢字", 27, "\"Österreich 🇦🇹 漢字\""},
        {"\xE2\x80\xA8", 3, "\"\xE2\x80\xA8\""},
        {"\xFF", 1, "\"\xEF\xBF\xBD\""},
        {"a\xC3", 2, "\"a\xEF\xBF\xBD\""},
        {"\xF0\x9F\x87"
         "b",
         4,
         "\"\xEF\xBF\xBD"
         "b\""},
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b;
        buf_init(&b);
        buf_json(&b, rows[i].in, rows[i].len);
        assert_string_equal(b.data, rows[i].out);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_ends_with_nul),
        cmocka_unit_test(fails_once_and_stays_failed),
        cmocka_unit_test(takes_and_consumes),
        cmocka_unit_test(writes_json_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
