/* What REDIS_URL may be, and that a refusal never repeats it. */
#include "common/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text;
    bool tls;
    int port;
    const char *unix_path, *host;
    const char *user, *password;
    int db;
} good[] = {
    {"redis://h", false, 6379, NULL, "h", NULL, NULL, 0},
    {"redis://h/", false, 6379, NULL, "h", NULL, NULL, 0},
    {"REDIS://h:1", false, 1, NULL, "h", NULL, NULL, 0},
    {"redis://127.0.0.1:65535/15", false, 65535, NULL, "127.0.0.1", NULL, NULL, 15},
    {"rediss://a.b:7000", true, 7000, NULL, "a.b", NULL, NULL, 0},
    {"redis://[::1]:7/2", false, 7, NULL, "::1", NULL, NULL, 2},
    {"redis://[fe80::1]", false, 6379, NULL, "fe80::1", NULL, NULL, 0},
    {"redis://:pw@h", false, 6379, NULL, "h", NULL, "pw", 0},
    {"redis://u@h", false, 6379, NULL, "h", "u", NULL, 0},
    {"redis://u:@h", false, 6379, NULL, "h", "u", "", 0},
    {"redis://u:p%40%2f%3A@h:2/3", false, 2, NULL, "h", "u", "p@/:", 3},
    {"redis://u:p@q@h", false, 6379, NULL, "h", "u", "p@q", 0},
    {"redis://u:p:q@h", false, 6379, NULL, "h", "u", "p:q", 0},
    {"unix:///run/redis.sock", false, 0, "/run/redis.sock", NULL, NULL, NULL, 0},
    {"unix:///a%20b?db=4", false, 0, "/a b", NULL, NULL, NULL, 4},
    {"unix://u:p@/s", false, 0, "/s", NULL, "u", "p", 0},
    {"unix://:p@/s?db=0", false, 0, "/s", NULL, NULL, "p", 0},
    {"unix:///a@b/s", false, 0, "/a@b/s", NULL, NULL, NULL, 0},
};

static void check_string(const char *is, const char *want)
{
    if (want) {
        assert_non_null(is);
        assert_string_equal(is, want);
    } else {
        assert_null(is);
    }
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct redis_url url;
        struct buf err;
        buf_init(&err);
        print_message("%s\n", good[i].text);
        assert_true(redis_url_parse(good[i].text, &url, &err));
        assert_int_equal(err.len, 0);
        assert_int_equal(url.tls, good[i].tls);
        check_string(url.unix_path, good[i].unix_path);
        check_string(url.host, good[i].host);
        assert_int_equal(url.port, good[i].port);
        check_string(url.user, good[i].user);
        check_string(url.password, good[i].password);
        assert_int_equal(url.db, good[i].db);
        redis_url_fini(&url);
        buf_fini(&err);
    }
}

static const char *const bad[] = {
    "",
    "h",
    "redis:/h",
    "redis://",
    "http://h",
    "redis:///1",
    "redis://:s3cret@",
    "redis://h:",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:-1",
    "redis://h:+1",
    "redis://h:1x",
    "redis://h:s3cret",
    "redis://h/x",
    "redis://h/-1",
    "redis://h/1/2",
    "redis://h/99999999",
    "redis://h?db=1",
    "redis://h#1",
    "redis://h/1?x=s3cret",
    "redis://[::1",
    "redis://[::1]x",
    "redis://[]",
    "redis://:s3cret%@h",
    "redis://:s3cret%2@h",
    "redis://:s3cret%zz@h",
    "redis://:s3cret%00@h",
    "redis://s3cret/x@h",
    "redis://h%zz",
    "unix://",
    "unix://relative",
    "unix://u:p@s3cret",
    "unix://s3cret/x",
    "unix:///s?db=",
    "unix:///s?db=x",
    "unix:///s?password=s3cret",
    "unix:///s%00",
    "unix://:s3cret%0@/s",
    ("unix:///0123456789012345678901234567890123456789012345678901234567890123456789"
     "0123456789012345678901234567890123456789"),
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct redis_url url = {.port = 4711};
        struct buf err;
        buf_init(&err);
        print_message("%s\n", bad[i]);
        assert_false(redis_url_parse(bad[i], &url, &err));
        assert_true(err.len > 0);
        assert_null(strstr(err.data, "s3cret"));
        assert_int_equal(url.port, 4711); /* untouched */
        buf_fini(&err);
    }
}

static void test_long(void **state)
{
    static char text[4000] = "redis://";
    struct redis_url url;
    struct buf err;

    (void)state;
    memset(text + 8, 'h', sizeof(text) - 9);
    buf_init(&err);
    assert_false(redis_url_parse(text, &url, &err));
    text[8 + 254] = '\0';
    assert_false(redis_url_parse(text, &url, &err));
    text[8 + 253] = '\0';
    assert_true(redis_url_parse(text, &url, &err));
    redis_url_fini(&url);
    buf_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
