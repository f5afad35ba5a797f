/* What a schema is called: in statements, in channels, in libpq's options. No server. */
#include "common/pg_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LONG48 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv"

static void test_names(void **state)
{
    static const char *const good[] = {
        "threadcast", "Team-Chat", "select", "a\"b;c", "ä ö", LONG48 "abcdefghijklmno"};
    static const char *const bad[] = {"",
                                      "a\nb",
                                      "a\tb",
                                      "a\x7f",
                                      "pg_",
                                      "pg_temp",
                                      "information_schema",
                                      LONG48 "abcdefghijklmnop"};
    struct buf err;

    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(pg_schema_check(good[i], &err));
    assert_int_equal(err.len, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        buf_clear(&err);
        assert_false(pg_schema_check(bad[i], &err));
        assert_true(err.len > 0 || err.failed);
    }
    buf_fini(&err);
}

static void qualified(const char *sql, const char *schema, const char *expected)
{
    struct buf out;

    buf_init(&out);
    pg_qualify(&out, sql, schema);
    if (!out.failed)
        assert_string_equal(out.data, expected);
    buf_fini(&out);
}

static void test_qualify(void **state)
{
    (void)state;
    qualified("SELECT 1", "s", "SELECT 1");
    qualified("SELECT threadcast.f($1) FROM threadcast.t", "s",
              "SELECT \"s\".f($1) FROM \"s\".t");
    qualified("SELECT threadcast.f()", "a\"; DROP TABLE t; --",
              "SELECT \"a\"\"; DROP TABLE t; --\".f()");
    qualified("threadcast.threadcast.", "threadcast.",
              "\"threadcast.\".\"threadcast.\".");
    qualified("SELECT threadcast.f()", NULL, "SELECT threadcast.f()");
}

static void channel(const char *schema, const char *expected)
{
    struct buf out;

    buf_init(&out);
    pg_channel_prefix(&out, schema);
    if (!out.failed)
        assert_string_equal(out.data, expected);
    buf_fini(&out);
}

/* sha256 of the name, as channel() in SQL has it */
static void test_channels(void **state)
{
    struct pg p = {.opt.schema = "a.b"}, plain = {0};

    (void)state;
    channel("threadcast", "threadcast.");
    channel(LONG48, LONG48 ".");
    channel(LONG48 "w", "d161912df25cf60150dfb0bea07af1dd701aa007.");
    assert_string_equal(pg_channel_name(&p, "a.b.new_message"), "new_message");
    assert_string_equal(pg_channel_name(&plain, "a.b"), "a.b");
}

static void options(const char *schema, bool pooled, const char *expected)
{
    struct pg_options o = {.url = "postgres://h/", .schema = schema, .pooled = pooled};
    struct pg_conninfo c = {0};
    struct buf err;

    buf_init(&err);
    if (pg_conninfo_make(&c, &o, &err)) {
        const char *got = pg_conninfo_get(&c, "options");
        if (expected)
            assert_string_equal(got, expected);
        else
            assert_null(got);
    }
    pg_conninfo_fini(&c);
    buf_fini(&err);
}

#define CHECKED "-c client_connection_check_interval=2000"

static void test_options(void **state)
{
    (void)state;
    options("s", false, CHECKED " -c search_path=\"s\"");
    options("a b\\\"", false, CHECKED " -c search_path=\"a\\ b\\\\\"\"\"");
    options(NULL, false, CHECKED);
    options("s", true, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_qualify),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
