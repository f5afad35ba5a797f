/* Which agents there are, and that nobody but the operator says what they run. */
#include "worker/agents.h"

#include "unit.h"

#include "common/buf.h"

static bool well_formed(const char *agent, const char *agents)
{
    struct buf err;
    bool ok;

    buf_init(&err);
    ok = agents_check(agent, agents, &err);
    assert_true(ok == (err.len == 0));
    buf_fini(&err);
    return ok;
}

static void options(void **state)
{
    (void)state;
    assert_true(well_formed("demo", NULL));
    assert_true(well_formed("exec:cat", NULL));
    assert_true(well_formed("mine", "mine=exec:cat"));
    assert_true(well_formed("mine", "mine=demo,other=exec:x"));
    assert_true(well_formed("demo", "demo=exec:my-own"));
    assert_false(well_formed("nobody", NULL));
    assert_false(well_formed("exec:", NULL));
    assert_false(well_formed("", NULL));
    assert_false(well_formed("demo", "mine"));
    assert_false(well_formed("demo", "a b=exec:x"));
    assert_false(well_formed("demo", "a=exec:x,a=exec:y"));
    assert_false(well_formed("demo", "a=python"));
    assert_false(well_formed("exec:x", "exec=exec:y"));
}

static void found(void **state)
{
    struct agents *a = agents_new("exec:a, b=c", "one=exec:x,y z,two=exec:echo a=b");

    (void)state;
    assert_non_null(a);
    assert_string_equal(agents_find(a, "default")->command, "a, b=c");
    assert_string_equal(agents_find(a, "default")->name, "exec");
    assert_string_equal(agents_find(a, "one")->command, "x,y z");
    assert_string_equal(agents_find(a, "two")->command, "echo a=b");
    assert_null(agents_find(a, "demo")->command);
    assert_null(agents_find(a, "exec:rm"));
    assert_null(agents_find(a, "three"));
    assert_null(agents_find(a, ""));
    agents_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
