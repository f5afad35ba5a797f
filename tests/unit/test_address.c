/* address: where we listen, and whom we believe. */
#include "bridge/address.h"

#include "unit.h"

static void test_parse(void **state)
{
    static const struct {
        const char *in, *out;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", true},
        {"localhost:0", "127.0.0.1:0", true},
        {"0.0.0.0:80", "0.0.0.0:80", false},
        {"[::1]:8080", "[::1]:8080", true},
        {"[::]:1", "[::]:1", false},
        {"127.9.9.9:1", "127.9.9.9:1", true},
        {"[::ffff:127.0.0.1]:1", "127.0.0.1:1", true},
    };
    static const char *const wrong[] = {
        "",           "8080",        ":8080",           "localhost",       "a:b",
        "127.0.0.1:", "127.0.0.1:x", "1.2.3:4",         "::1:80",          "127.0.0.1:-1",
        "[::1]",      "[]:1",        "host.example:80", "127.0.0.1:65536", "[a]:1"};
    struct sockaddr_storage addr;
    struct buf err;
    socklen_t len;
    char out[ADDRESS_SIZE];

    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(address_parse(rows[i].in, &addr, &len, &err));
        address_format((struct sockaddr *)&addr, len, out);
        assert_string_equal(out, rows[i].out);
        assert_int_equal(address_loopback((struct sockaddr *)&addr), rows[i].loopback);
    }
    assert_int_equal(err.len, 0);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        buf_clear(&err);
        assert_false(address_parse(wrong[i], &addr, &len, &err));
        assert_true(err.len > 0);
    }
    buf_fini(&err);
}

static void test_lists(void **state)
{
    static const struct {
        const char *list, *host;
        bool in;
    } rows[] = {
        {NULL, "127.0.0.1", false},
        {"", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/9", "10.127.0.1", true},
        {"10.0.0.0/9", "10.128.0.1", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "::1", false},
        {"1.2.3.4, ::1 ,5.6.7.8", "::1", true},
        {"1.2.3.4, ::1 ,5.6.7.8", "5.6.7.8", true},
        {"fd00::/8", "fd12::1", true},
        {"fd00::/8", "fe12::1", false},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"127.0.0.1", "unix", false},
        {"127.0.0.1", "", false},
        {"127.0.0.1", "127.0.0.1 ", false},
    };
    static const char *const wrong[] = {"a",           "10.0.0.0/33", "10.0.0.0/",
                                        "10.0.0.0/-1", "::1/129",     "10.0.0.1,,",
                                        "10.0.0.0/8x", "1.2.3"};
    struct buf err;

    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(address_list_valid(rows[i].list, &err));
        if (address_listed(rows[i].list, rows[i].host) != rows[i].in)
            fail_msg("%s in %s", rows[i].host, rows[i].list);
    }
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_false(address_list_valid(wrong[i], &err));
    buf_fini(&err);
}

static void test_forwarded(void **state)
{
    static const char trusted[] = "127.0.0.1, 10.0.0.0/8";
    static const struct {
        const char *list, *out;
        bool goes_on;
    } rows[] = {
        {"203.0.113.9", "203.0.113.9", false},
        {"1.1.1.1, 203.0.113.9", "203.0.113.9", false}, /* the visitor wrote the first */
        {"1.1.1.1,203.0.113.9 , 10.1.1.1", "203.0.113.9", false},
        {"10.1.1.1", "10.1.1.1", true},
        {"10.1.1.1,\t127.0.0.1", "10.1.1.1", true},
        {"2001:db8::1", "2001:db8::1", false},
        {"203.0.113.9:4711, 10.1.1.1:80", "203.0.113.9", false}, /* with their ports */
        {"[2001:db8::1]:4711", "2001:db8::1", false},
        {"[2001:db8::1]", "2001:db8::1", false},
        {"::ffff:203.0.113.9", "::ffff:203.0.113.9", false},
        {"203.0.113.9:", "before", false},
        {"203.0.113.9:4711x", "before", false},
        {"203.0.113.9:471111", "before", false},
        {"[2001:db8::1", "before", false},
        {"[2001:db8::1]4711", "before", false},
        {"[]:1", "before", false},
        {"[", "before", false},
        {":80", "before", false},
        {"junk, 10.1.1.1", "10.1.1.1", false},
        {"junk", "before", false},
        {"10.0.0.0/8", "before", false},
        {"203.0.113.9, ", "before", false},
        {"", "before", true},
    };
    char out[ADDRESS_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span list = {rows[i].list, strlen(rows[i].list)};
        strcpy(out, "before");
        if (address_forwarded(trusted, list, out) != rows[i].goes_on ||
            strcmp(out, rows[i].out) != 0)
            fail_msg("%s: %s", rows[i].list, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
