/* cookie: finding ours among others, and what we set. */
#include "bridge/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct span text(const char *s)
{
    return (struct span){s, strlen(s)};
}

static void assert_session(const char *first, const char *second, const char *value)
{
    static struct http_request r;
    memset(&r, 0, sizeof(r));
    r.headers[r.header_count++] = (struct http_header){text("Accept"), text("*/*")};
    r.headers[r.header_count++] = (struct http_header){text("Cookie"), text(first)};
    if (second)
        r.headers[r.header_count++] = (struct http_header){text("COOKIE"), text(second)};
    struct span found = cookie_session(&r);
    if (!value) {
        assert_null(found.at);
        return;
    }
    assert_int_equal(found.len, strlen(value));
    assert_memory_equal(found.at, value, found.len);
}

static void finds_ours(void **state)
{
    (void)state;
    assert_session("threadcast_session=a.b.c", NULL, "a.b.c");
    assert_session("a=1; threadcast_session=x; b=2", NULL, "x");
    assert_session("a=1;threadcast_session=x;b=2", NULL, "x");
    assert_session(" ;; threadcast_session=x ;", NULL, "x");
    assert_session("threadcast_session=\"x\"", NULL, "x");
    assert_session("threadcast_session=x=y", NULL, "x=y");
    assert_session("a=1", "threadcast_session=x", "x");
    assert_session("threadcast_session=x; threadcast_session=y", NULL, "x");
    assert_session("threadcast_session=", NULL, "");
}

static void takes_no_other(void **state)
{
    (void)state;
    assert_session("", NULL, NULL);
    assert_session("threadcast_session", NULL, NULL);
    assert_session("xthreadcast_session=x", NULL, NULL);
    assert_session("threadcast_session2=x", NULL, NULL);
    assert_session("Threadcast_Session=x", NULL, NULL);
    assert_session("a=threadcast_session=x", NULL, NULL);
    assert_session("threadcast_session =x", NULL, NULL);
}

static void every_cut_is_harmless(void **state)
{
    static const char header[] = "a=1; threadcast_session=\"abc\"; b=2";
    (void)state;
    for (size_t n = 0; n < sizeof(header); n++) {
        static struct http_request r;
        char copy[sizeof(header)];
        memcpy(copy, header, n);
        r.header_count = 1;
        r.headers[0] = (struct http_header){text("cookie"), {copy, n}};
        struct span found = cookie_session(&r);
        assert_true(!found.at || (found.at >= copy && found.at + found.len <= copy + n));
    }
}

static void sets_what_the_contract_says(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    cookie_set(&b, "a.b.c", 5, 60, true, "/");
    assert_string_equal(b.data, "threadcast_session=a.b.c; Path=/; Max-Age=60; HttpOnly; "
                                "SameSite=Strict; Secure");
    buf_clear(&b);
    cookie_set(&b, "", 0, 0, false, "/live");
    assert_string_equal(
        b.data, "threadcast_session=; Path=/live; Max-Age=0; HttpOnly; SameSite=Strict");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_ours),
        cmocka_unit_test(takes_no_other),
        cmocka_unit_test(every_cut_is_harmless),
        cmocka_unit_test(sets_what_the_contract_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
