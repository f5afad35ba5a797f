/* base_path: which values are taken, and what of a path they take away. */
#include "bridge/base_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void values(void **state)
{
    static const char *const good[] = {"", "/live", "/a/b", "/a.b", "/~x", "/...x", "/1"};
    static const char *const bad[] = {
        "/",       "live",  "/live/", "//live", "/a//b",         "/.",   "/..",
        "/a/../b", "/a b",  "/a%2Fb", "/a?b",   "/a#b",          "/a;b", "/\xc3\xa9",
        "/a\\b",   "/a\"b", "/a\r\n", "/a:b",   "https://a.b/c", " /a",  "/a ",
    };
    char longest[BASE_PATH_MAX + 2];
    struct buf err;

    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < COUNT(good); i++)
        if (!base_path_valid(good[i], &err))
            fail_msg("'%s' is refused: %s", good[i], err.data);
    assert_int_equal(err.len, 0);
    for (size_t i = 0; i < COUNT(bad); i++) {
        buf_clear(&err);
        if (base_path_valid(bad[i], &err) || err.len == 0)
            fail_msg("'%s' is taken, or nothing is said", bad[i]);
    }
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[BASE_PATH_MAX + 1] = 0;
    assert_false(base_path_valid(longest, &err));
    longest[BASE_PATH_MAX] = 0;
    assert_true(base_path_valid(longest, &err));
    buf_fini(&err);
}

static void strips(void **state)
{
    static const struct {
        const char *base, *path, *rest; /* NULL: outside */
    } rows[] = {
        {"", "/", "/"},
        {"", "/live", "/live"},
        {NULL, "/v1/threads", "/v1/threads"},
        {"/live", "/live", ""},
        {"/live", "/live/", "/"},
        {"/live", "/live/v1/threads", "/v1/threads"},
        {"/live", "/live/live", "/live"},
        {"/live", "/", NULL},
        {"/live", "/lives", NULL},
        {"/live", "/live.js", NULL},
        {"/live", "/Live/", NULL},
        {"/live", "/liv", NULL},
        {"/live", "/v1/threads", NULL},
        {"/live", "/l%69ve/", NULL},
        {"/a/b", "/a/b/c", "/c"},
        {"/a/b", "/a/", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span path = {rows[i].path, strlen(rows[i].path)};
        bool inside = base_path_strip(rows[i].base, &path);
        const char *rest = rows[i].rest ? rows[i].rest : rows[i].path;
        if (inside != (rows[i].rest != NULL) || path.len != strlen(rest) ||
            memcmp(path.at, rest, path.len) != 0)
            fail_msg("%s below %s: %.*s", rows[i].path, rows[i].base, (int)path.len,
                     path.at);
    }
}

static void leads(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    assert_true(base_path_is("/a/live", (struct span){"/a/live", 7}));
    assert_false(base_path_is("/live", (struct span){"/live/", 6}));
    assert_false(base_path_is("/live", (struct span){"/", 1}));
    assert_false(base_path_is("", (struct span){"/", 1}));
    base_path_location("/a/live", (struct span){"", 0}, &out);
    assert_string_equal(out.data, "live/");
    buf_clear(&out);
    base_path_location("/live", (struct span){"x=1", 3}, &out);
    assert_string_equal(out.data, "live/?x=1");
    assert_string_equal(base_path_cookie(""), "/");
    assert_string_equal(base_path_cookie(NULL), "/");
    assert_string_equal(base_path_cookie("/live"), "/live");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(strips),
        cmocka_unit_test(leads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
