/* The control of torture.c: mistakes that only show when memory
 * is short, each of which it has to find. CTest expects every one of these runs to fail.
 */
#include "torture.h"

#include "unit.h"

static void accepts(void **state)
{
    char *copy = strdup("a forged token");
    bool refused = copy && strcmp(copy, "a good token") != 0;

    (void)state;
    free(copy);
    torture_verdict(!refused);
}

/* The same call stack for all of them: it is the verdict that tells the places apart. */
static void accepts_late(void **state)
{
    bool before = false;

    (void)state;
    for (int i = 0; i < 12; i++) {
        char *copy = strdup("a forged token");
        bool refused = copy || !before || i != 7;
        before = copy;
        free(copy);
        torture_verdict(!refused);
    }
}

static void refuses(void **state)
{
    char *copy = strdup("a good token");
    bool good = copy && strcmp(copy, "a good token") == 0;

    (void)state;
    free(copy);
    torture_verdict_why(good, false);
}

static void leaks(void **state)
{
    char **pair = malloc(2 * sizeof(*pair));

    (void)state;
    assert_non_null(pair);
    pair[0] = strdup("one");
    pair[1] = strdup("two");
    if (pair[0] && pair[1]) {
        free(pair[0]);
        free(pair[1]);
        free(pair);
    }
    pair = NULL;
}

static void hangs(void **state)
{
    char *copy = NULL;

    (void)state;
    for (int tries = 0; !copy; tries++)
        copy = tries % 2 ? NULL : malloc(1);
    free(copy);
}

static void aborts(void **state)
{
    char *copy = strdup("a frame");

    (void)state;
    if (!copy)
        abort();
    free(copy);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(accepts), cmocka_unit_test(accepts_late),
        cmocka_unit_test(refuses), cmocka_unit_test(leaks),
        cmocka_unit_test(hangs),   cmocka_unit_test(aborts),
    };

    for (size_t i = 0; argc == 2 && i < COUNT(all); i++) {
        const struct CMUnitTest tests[] = {all[i]};
        if (strcmp(all[i].name, argv[1]) == 0)
            return cmocka_run_group_tests(tests, NULL, NULL);
    }
    return cmocka_run_group_tests(all, NULL, NULL);
}
