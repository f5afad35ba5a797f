/* gather: a thread has one home, homes are spread, and so many go there as are allowed.
 */
#include "bridge/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { REACTORS = 4, THREADS = 4000 };

static uint32_t place_of(struct gather *g, int thread)
{
    char id[16];

    snprintf(id, sizeof(id), "t%d", thread);
    return gather_place(g, id, strlen(id));
}

static void threads_have_homes_and_those_are_spread(void **state)
{
    struct gather *g = gather_new(REACTORS, 1);
    int at[REACTORS] = {0};

    (void)state;
    assert_non_null(g);
    for (int i = 0; i < THREADS; i++) {
        size_t home = gather_home(g, place_of(g, i));
        assert_in_range(home, 0, REACTORS - 1);
        assert_int_equal(home, gather_home(g, place_of(g, i)));
        at[home]++;
    }
    for (int i = 0; i < REACTORS; i++)
        assert_in_range(at[i], THREADS / REACTORS / 2, THREADS / REACTORS * 2);
    gather_free(g);
}

static void another_process_has_other_places(void **state)
{
    struct gather *a = gather_new(REACTORS, 1), *b = gather_new(REACTORS, 1);
    int same = 0;

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    for (int i = 0; i < 64; i++)
        same += place_of(a, i) == place_of(b, i);
    assert_in_range(same, 0, 2); /* nobody outside can choose who meets whom */
    gather_free(a);
    gather_free(b);
}

static void so_many_are_admitted(void **state)
{
    struct gather *g = gather_new(REACTORS, 3);
    uint32_t place, other;

    (void)state;
    assert_non_null(g);
    place = place_of(g, 1);
    other = place ^ 1;
    gather_joined(g, place); /* came in there by itself */
    assert_true(gather_admit(g, place));
    assert_true(gather_admit(g, place));
    assert_false(gather_admit(g, place));
    assert_false(gather_admit(g, place));
    assert_true(gather_admit(g, other));
    gather_left(g, place);
    assert_true(gather_admit(g, place));
    assert_false(gather_admit(g, place));
    for (int i = 0; i < 3; i++)
        gather_left(g, place);
    for (int i = 0; i < 3; i++)
        assert_true(gather_admit(g, place));
    assert_false(gather_admit(g, place));
    gather_free(g);
}

static void none_are_with_zero(void **state)
{
    struct gather *g = gather_new(REACTORS, 0);

    (void)state;
    assert_non_null(g);
    assert_false(gather_admit(g, place_of(g, 1)));
    gather_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_have_homes_and_those_are_spread),
        cmocka_unit_test(another_process_has_other_places),
        cmocka_unit_test(so_many_are_admitted),
        cmocka_unit_test(none_are_with_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
