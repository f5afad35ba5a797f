#include "common/clock.h"

#include "unit.h"

static void formats_times(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795173753123, "2026-11-20T11:22:33.123Z"},
        {1709210096999, "2024-02-29T12:34:56.999Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "0000-00-00T00:00:00.000Z"},
        {INT64_MAX, "0000-00-00T00:00:00.000Z"},
        {INT64_MIN, "0000-00-00T00:00:00.000Z"},
    };
    char out[CLOCK_ISO_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        clock_iso(rows[i].ms, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void goes_forward(void **state)
{
    int64_t us = clock_us(), ms = clock_ms();

    (void)state;
    assert_true(us > 0 && ms > 0);
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_us();
        assert_true(now >= us);
        us = now;
    }
    assert_true(clock_ms() >= ms);
    assert_true(clock_wall_ms() > INT64_C(1700000000000));
}

static void jitters_around_the_middle(void **state)
{
    bool low = false, high = false;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t ms = clock_jitter(1000);
        assert_true(ms >= 500 && ms < 1500);
        low = low || ms < 600;
        high = high || ms >= 1400;
    }
    assert_true(low && high);
    assert_int_equal(clock_jitter(0), 0);
    assert_int_equal(clock_jitter(-5), 0);
    assert_in_range(clock_jitter(1), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_times),
        cmocka_unit_test(goes_forward),
        cmocka_unit_test(jitters_around_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
