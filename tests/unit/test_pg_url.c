/* What DATABASE_URL may be; which hosts need a name server; and that a refusal never
 * repeats what may be the password. */
#include "common/pg.h"

#include "common/buf.h"
#include "common/pg_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *url;
    const char *hosts; /* names that are asked for, each becomes 1.1.1.1 and 2.2.2.2 */
    const char *host, *hostaddr, *port;
} good[] = {
    {"postgres://", "", "", "", "5432"},
    {"postgresql:///db", "", "", "", "5432"},
    {"postgres://h/db", "h ", "h,h", "1.1.1.1,2.2.2.2", "5432,5432"},
    {"postgres://u:p@h:7/db?sslmode=require", "h ", "h,h", "1.1.1.1,2.2.2.2", "7,7"},
    {"postgres://localhost/db", "", "localhost", "", "5432"},
    {"postgres://127.0.0.1:1/db", "", "127.0.0.1", "", "1"},
    {"postgres://[::1]/db", "", "::1", "", "5432"},
    {"postgres://%2Frun%2Fpg/db", "", "/run/pg", "", "5432"},
    {"host=/run/pg port=7", "", "/run/pg", "", "7"},
    {"host=h hostaddr=9.9.9.9", "", "h", "9.9.9.9", "5432"},
    {"postgres://a:1,127.0.0.1:2,b:3/db", "a b ", "a,a,127.0.0.1,b,b",
     "1.1.1.1,2.2.2.2,,1.1.1.1,2.2.2.2", "1,1,2,3,3"},
    {"host=a,/s port=5", "a ", "a,a,/s", "1.1.1.1,2.2.2.2,", "5,5,5"},
    {"user=u password='a b'", "", "", "", "5432"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct pg_options o = {.url = good[i].url};
        struct pg_conninfo c = {0};
        struct pg_hosts h = {0};
        struct buf err, asked;
        buf_init(&err);
        buf_init(&asked);
        buf_str(&asked, "");
        print_message("%s\n", good[i].url);
        assert_true(pg_url_check(good[i].url, &err));
        assert_true(pg_conninfo_make(&c, &o, &err));
        assert_true(pg_hosts_start(&h, &c, &err));
        for (; h.next < h.count; h.next++) {
            if (!pg_hosts_named(&h)) {
                pg_hosts_add(&h, NULL);
                continue;
            }
            buf_printf(&asked, "%s ", h.names[h.next]);
            pg_hosts_add(&h, "1.1.1.1");
            pg_hosts_add(&h, "2.2.2.2");
        }
        pg_hosts_store(&h, &c);
        assert_string_equal(asked.len ? asked.data : "", good[i].hosts);
        assert_string_equal(pg_conninfo_get(&c, "host"), good[i].host);
        assert_string_equal(pg_conninfo_get(&c, "hostaddr"), good[i].hostaddr);
        assert_string_equal(pg_conninfo_get(&c, "port"), good[i].port);
        pg_hosts_fini(&h);
        pg_conninfo_fini(&c);
        buf_fini(&err);
        buf_fini(&asked);
    }
}

static const char *const bad[] = {
    "",
    "s3cret",
    "mysql://u:s3cret@h/",
    "postgres://u:s3cret%zz@h/",
    "postgres://u:s3cret%00@h/",
    "postgres://u:a\"s3cret\"%zz@h/",
    "postgres://u:\"s3cret%zz@h/",
    "postgres://h/?s3cret=1",
    "postgres://h/?sslmode",
    "postgres://h:s3cret/",
    "postgres://h:0/",
    "postgres://h:65536/",
    "postgres://[::1/",
    "postgres://a:1,b:2/?port=1,2,3",
    "postgres://a,b,c,d,e,f,g,h,i/",
    "host=a,b hostaddr=1.1.1.1",
    "s3cret=1",
    "host=h password='s3cret",
    "host=h s3cret",
    "service=x",
    "postgres://h/?service=x",
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buf err;
        buf_init(&err);
        assert_false(pg_url_check(bad[i], &err));
        assert_true(err.len > 0);
        print_message("%-40s %s\n", bad[i], err.data);
        assert_null(strstr(err.data, "s3cret"));
        buf_fini(&err);
    }
}

static void test_ours(void **state)
{
    struct pg_options o = {.url =
                               "postgres://h/?keepalives_idle=60&client_encoding=LATIN1"
                               "&application_name=theirs&options=-c%20a.b%3Dc",
                           .schema = "my_app",
                           .name = "ours"};
    struct pg_conninfo c = {0};
    struct buf err;

    (void)state;
    buf_init(&err);
    assert_true(pg_conninfo_make(&c, &o, &err));
    assert_string_equal(pg_conninfo_get(&c, "keepalives_idle"), "60");
    assert_string_equal(pg_conninfo_get(&c, "keepalives_interval"), "2");
    assert_string_equal(pg_conninfo_get(&c, "tcp_user_timeout"), "8000");
    assert_string_equal(pg_conninfo_get(&c, "client_encoding"), "UTF8");
    assert_string_equal(pg_conninfo_get(&c, "application_name"), "ours");
    assert_string_equal(pg_conninfo_get(&c, "gssencmode"), "disable");
    assert_string_equal(pg_conninfo_get(&c, "options"),
                        "-c a.b=c -c client_connection_check_interval=2000 "
                        "-c search_path=\"my_app\"");
    pg_conninfo_fini(&c);
    buf_fini(&err);
}

static void test_words(void **state)
{
    char out[20];

    (void)state;
    pg_one_line("\n a\r\n\tb  c \x01 d\n", out, sizeof(out));
    assert_string_equal(out, "a b c d");
    pg_one_line("0123456789012345678901234", out, sizeof(out));
    assert_string_equal(out, "0123456789012345678");
    pg_one_line("", out, sizeof(out));
    assert_string_equal(out, "");
    assert_true(pg_is_connection_state("57P01"));
    assert_true(pg_is_connection_state("08006"));
    assert_false(pg_is_connection_state("57014"));
    assert_false(pg_is_connection_state(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
