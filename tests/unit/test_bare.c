/* bare: each thread is named once an hour, and few in a minute. */
#include "bridge/bare.h"

#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static bool seen(struct bare *b, int thread, int64_t now_ms)
{
    char id[16];
    snprintf(id, sizeof(id), "t%d", thread);
    return bare_seen(b, "app:", id, now_ms);
}

static void a_thread_is_named_once_an_hour(void **state)
{
    struct bare *b = bare_new();
    (void)state;
    assert_non_null(b);
    assert_true(seen(b, 1, 7200000));
    assert_false(seen(b, 1, 7200001));
    assert_true(seen(b, 2, 7200001));
    assert_false(seen(b, 1, 7200000 + BARE_FORGET_MS - 1));
    assert_true(seen(b, 1, 7200000 + BARE_FORGET_MS));
    bare_free(b);
}

static void few_in_a_minute_and_the_others_later(void **state)
{
    struct bare *b = bare_new();
    int named = 0;
    (void)state;
    assert_non_null(b);
    for (int i = 0; i < 100; i++)
        named += seen(b, i, 7200000);
    assert_int_equal(named, BARE_LINES_PER_MIN);
    assert_false(seen(b, 99, 7259999));
    assert_true(seen(b, 99, 7260000));
    bare_free(b);
}

int main(void)
{
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_is_named_once_an_hour),
        cmocka_unit_test(few_in_a_minute_and_the_others_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
