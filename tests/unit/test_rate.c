/* rate: so many a minute and address, and no more memory than that. */
#include "bridge/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void counts_by_address(void **state)
{
    struct rate *r = rate_new();
    (void)state;
    assert_non_null(r);
    for (int i = 0; i < 3; i++)
        assert_true(rate_take(r, "10.0.0.1", 3, 1000));
    assert_false(rate_take(r, "10.0.0.1", 3, 1000));
    assert_true(rate_take(r, "10.0.0.2", 3, 1000));
    rate_free(r);
}

static void a_minute_later_it_begins_anew(void **state)
{
    struct rate *r = rate_new();
    (void)state;
    assert_non_null(r);
    assert_true(rate_take(r, "a", 1, 100000));
    assert_false(rate_take(r, "a", 1, 159999));
    assert_true(rate_take(r, "a", 1, 160000));
    assert_false(rate_take(r, "a", 1, 160001));
    rate_free(r);
}

static void ipv6_counts_by_network(void **state)
{
    struct rate *r = rate_new();
    (void)state;
    assert_non_null(r);
    assert_true(rate_take(r, "2001:db8:0:1::1", 2, 0));
    assert_true(rate_take(r, "2001:db8:0:1:ffff::2", 2, 0));
    assert_false(rate_take(r, "2001:db8:0:1::3", 2, 0));
    assert_true(rate_take(r, "2001:db8:0:2::1", 2, 0));
    rate_free(r);
}

static void addresses_of_a_minute_are_limited(void **state)
{
    struct rate *r = rate_new();
    char address[32];
    (void)state;
    assert_non_null(r);
    for (int i = 0; i < RATE_ADDRESSES_MAX; i++) {
        snprintf(address, sizeof(address), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_true(rate_take(r, address, 2, 0));
    }
    assert_false(rate_take(r, "11.0.0.1", 2, 0));
    assert_true(rate_take(r, "10.0.0.1", 2, 0)); /* known already */
    assert_true(rate_take(r, "11.0.0.1", 2, 60000));
    rate_free(r);
}

static void zero_is_none_at_all(void **state)
{
    struct rate *r = rate_new();
    (void)state;
    assert_non_null(r);
    assert_false(rate_take(r, "a", 0, 0));
    rate_free(r);
    rate_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_address),
        cmocka_unit_test(a_minute_later_it_begins_anew),
        cmocka_unit_test(ipv6_counts_by_network),
        cmocka_unit_test(addresses_of_a_minute_are_limited),
        cmocka_unit_test(zero_is_none_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
