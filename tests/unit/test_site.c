/* site: reading origins and hosts; what is not one is none. */
#include "bridge/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct span text(const char *s)
{
    return (struct span){s, strlen(s)};
}

static void assert_site(const char *origin, const char *wanted)
{
    char shown[320];
    struct site s;
    assert_true(site_parse(text(origin), &s));
    snprintf(shown, sizeof(shown), "%s %s %u", s.scheme, s.host, s.port);
    assert_string_equal(shown, wanted);
}

static void reads_origins(void **state)
{
    (void)state;
    assert_site("http://example.com", "http example.com 80");
    assert_site("https://example.com", "https example.com 443");
    assert_site("https://example.com:443", "https example.com 443");
    assert_site("HTTPS://Example.COM:8443", "https example.com 8443");
    assert_site("http://127.0.0.1:8080", "http 127.0.0.1 8080");
    assert_site("http://[::1]:8080", "http [::1] 8080");
    assert_site("http://[FE80::1]", "http [fe80::1] 80");
    assert_site("capacitor://localhost", "capacitor localhost 0");
    assert_site("http://a:65535", "http a 65535");
}

static void refuses_the_rest(void **state)
{
    static const char *const rows[] = {
        "",
        "null",
        "*",
        "http://",
        "http:///",
        "://a",
        "http:/a",
        "http//a",
        "example.com",
        "http://a/",
        "http://a/b",
        "http://a?b",
        "http://a#b",
        "http://u@a",
        "http://a:",
        "http://a:0",
        "http://a:65536",
        "http://a:123456",
        "http://a:8o",
        "http://a:80:80",
        "http://a b",
        "http://a,http://b",
        "http://a http://b",
        "http://*.a",
        "http://[::1",
        "http://::1",
        "http://[::1]x",
        "http://[::1]:",
        "http://[zz]",
        "http://[]",
        "1http://a",
        "ht tp://a",
        "http://\xc3\xa4",
        "http://a\r\nX: y",
        "http://a%2e",
        "http://[::1%25eth0]",
    };
    struct site s;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (site_parse(text(rows[i]), &s))
            fail_msg("'%s' was taken", rows[i]);
    assert_false(site_parse((struct span){"http://a\0b", 10}, &s));
    assert_false(site_parse((struct span){"http://[::1\0]", 13}, &s));
    assert_false(site_parse((struct span){"http://[::1\0:1]", 15}, &s));
    char longest[300] = "http://";
    memset(longest + 7, 'a', 255);
    assert_true(site_parse(text(longest), &s));
    longest[7 + 255] = 'a';
    assert_false(site_parse(text(longest), &s));
}

static void compares_scheme_host_and_port(void **state)
{
    struct site a, b;
    (void)state;
    assert_true(site_parse(text("http://Example.com:80"), &a));
    assert_true(site_of_host(text("example.com"), "http", &b) && site_equal(&a, &b));
    assert_true(site_of_host(text("example.com:80"), "http", &b) && site_equal(&a, &b));
    assert_true(site_of_host(text("example.com"), "https", &b) && !site_equal(&a, &b));
    assert_true(site_of_host(text("example.com:81"), "http", &b) && !site_equal(&a, &b));
    assert_true(site_of_host(text("example.org"), "http", &b) && !site_equal(&a, &b));
    assert_true(site_of_host(text("example.com."), "http", &b) && !site_equal(&a, &b));
    assert_true(site_of_host(text("xexample.com"), "http", &b) && !site_equal(&a, &b));
    assert_false(site_of_host((struct span){0}, "http", &b));
}

static void knows_its_own_machine(void **state)
{
    static const struct {
        const char *host;
        bool loopback, local;
    } rows[] = {
        {"localhost", true, true},
        {"LOCALHOST:1", true, true},
        {"127.0.0.1:8080", true, true},
        {"[::1]:8080", true, true},
        {"127.0.0.2", false, true},
        {"192.168.1.5", false, true},
        {"[fe80::1]", false, true},
        {"mybox", false, true},
        {"localhost.", false, false},
        {"localhost.evil.com", false, false},
        {"127.0.0.1.evil.com", false, false},
        {"evil.com", false, false},
        {"127.1", false, false},
    };
    struct site s;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(site_of_host(text(rows[i].host), "http", &s));
        assert_int_equal(site_loopback(&s), rows[i].loopback);
        assert_int_equal(site_local(&s), rows[i].local);
    }
}

static void walks_lists(void **state)
{
    struct span item;
    size_t pos = 0;
    (void)state;
    const char *list = " a , b,,c ,";
    assert_true(site_list_next(list, &pos, &item) && item.len == 1 && *item.at == 'a');
    assert_true(site_list_next(list, &pos, &item) && item.len == 1 && *item.at == 'b');
    assert_true(site_list_next(list, &pos, &item) && item.len == 1 && *item.at == 'c');
    assert_false(site_list_next(list, &pos, &item));
    pos = 0;
    assert_false(site_list_next(NULL, &pos, &item));
    assert_false(site_list_next("", &pos, &item));
    assert_false(site_list_next(" , ", &pos, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_origins),
        cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(compares_scheme_host_and_port),
        cmocka_unit_test(knows_its_own_machine),
        cmocka_unit_test(walks_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
