/* What REDIS_URL may be, and that a refusal never repeats it. */
#include "common/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    "redis+sentinel://",
    "redis+sentinel://h",
    "redis+sentinel://h/",
    "redis+sentinel:///m",
    "redis+sentinel://,h/m",
    "redis+sentinel://h,/m",
    "redis+sentinel://h,,h/m",
    "redis+sentinel://h:0,h/m",
    "redis+sentinel://h,h:x/m",
    "redis+sentinel://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q/m",
    "redis+sentinel://:s3cret@/m",
    "redis+sentinel://:s3cret%@h/m",
    "redis+sentinel://h/m n",
    "redis+sentinel://h/m%20",
    "redis+sentinel://h/m/x",
    "redis+sentinel://h/m/1/2",
    "redis+sentinel://h/m#1",
    "redis+sentinel://h/m?s3cret",
    "redis+sentinel://h/m?password=s3cret",
    "redis+sentinel://h/m?sentinel-password=",
    "redis+sentinel://h/m?sentinel-password=s3cret%",
    "redis+sentinel://h/m?sentinel-password=s3cret&sentinel-password=s3cret",
    "redis+sentinel://h/m?sentinel-password=s3cret&sentinel-password-file=f",
    "redis+sentinel://h/m?sentinel-user=u",
    "redis+sentinels://h/m",
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

static const struct {
    const char *text;
    bool tls;
    const char *master;
    size_t count;
    const char *hosts[3];
    int ports[3];
    const char *user, *password; /* of the master */
    int db;
    const char *their_user, *their_password, *their_file;
} sentinels[] = {
    {"redis+sentinel://h/m",
     false,
     "m",
     1,
     {"h"},
     {26379},
     NULL,
     NULL,
     0,
     NULL,
     NULL,
     NULL},
    {"REDIS+Sentinel://h:1,[::1],a.b:3/My_0.m-1/7",
     false,
     "My_0.m-1",
     3,
     {"h", "::1", "a.b"},
     {1, 26379, 3},
     NULL,
     NULL,
     7,
     NULL,
     NULL,
     NULL},
    {"rediss+sentinel://u:p%40,q@h,i/m/?",
     true,
     "m",
     2,
     {"h", "i"},
     {26379, 26379},
     "u",
     "p@,q",
     0,
     NULL,
     NULL,
     NULL},
    {"redis+sentinel://:p@h/m?sentinel-password=s%26t",
     false,
     "m",
     1,
     {"h"},
     {26379},
     NULL,
     "p",
     0,
     NULL,
     "s&t",
     NULL},
    {"redis+sentinel://h/m/2?sentinel-user=v&sentinel-password=w",
     false,
     "m",
     1,
     {"h"},
     {26379},
     NULL,
     NULL,
     2,
     "v",
     "w",
     NULL},
    {"redis+sentinel://h,i/m?sentinel-user=v&sentinel-password-file=/run/a%20b",
     false,
     "m",
     2,
     {"h", "i"},
     {26379, 26379},
     NULL,
     NULL,
     0,
     "v",
     NULL,
     "/run/a b"},
};

static void test_sentinels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sentinels) / sizeof(*sentinels); i++) {
        struct redis_url url;
        struct buf err;
        buf_init(&err);
        print_message("%s\n", sentinels[i].text);
        assert_true(redis_url_parse(sentinels[i].text, &url, &err));
        assert_non_null(url.sentinels);
        assert_null(url.host);
        assert_int_equal(url.tls, sentinels[i].tls);
        assert_int_equal(url.db, sentinels[i].db);
        check_string(url.user, sentinels[i].user);
        check_string(url.password, sentinels[i].password);
        check_string(url.sentinels->master, sentinels[i].master);
        check_string(url.sentinels->password_file, sentinels[i].their_file);
        assert_int_equal(url.sentinels->count, sentinels[i].count);
        for (size_t k = 0; k < sentinels[i].count; k++) {
            const struct redis_url *at = &url.sentinels->at[k];
            check_string(at->host, sentinels[i].hosts[k]);
            assert_int_equal(at->port, sentinels[i].ports[k]);
            assert_int_equal(at->tls, sentinels[i].tls);
            check_string(at->user, sentinels[i].their_user);
            check_string(at->password, sentinels[i].their_password);
        }
        redis_url_fini(&url);
        buf_fini(&err);
    }
}

/* The password of the sentinels may lie in a file: there, or a clear word which. */
static void test_load(void **state)
{
    char path[] = "/tmp/test_redis_url.XXXXXX", text[128];
    int fd = mkstemp(path);
    struct redis_url url;
    struct buf err;

    (void)state;
    assert_true(fd >= 0 && write(fd, "s3cret\n", 7) == 7);
    close(fd);
    buf_init(&err);
    snprintf(text, sizeof(text), "redis+sentinel://h,i/m?sentinel-password-file=%s",
             path);
    assert_true(redis_url_parse(text, &url, &err));
    assert_true(redis_url_load(&url, &err));
    check_string(url.sentinels->at[0].password, "s3cret");
    check_string(url.sentinels->at[1].password, "s3cret");
    unlink(path);
    assert_false(redis_url_load(&url, &err));
    assert_non_null(strstr(err.data, path));
    assert_non_null(strstr(err.data, "No such file"));
    redis_url_fini(&url);
    buf_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long), cmocka_unit_test(test_sentinels),
        cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
