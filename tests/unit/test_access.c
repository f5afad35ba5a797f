/* access: grants and ownership, one question for many who ask the same, and no answer
 * that was overtaken by a change. */
#include "bridge/access.h"
#include "bridge/bridge.h"
#include "bridge/identity.h"
#include "common/json.h"
#include "test_pg.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct bridge_conf conf = {.upstream_timeout_ms = 60000};
static struct bridge bridge;
static struct identity *ann, *bob, *grants, *ticket, *local;

static char **list_of(const char *json)
{
    char **list = NULL;
    json_t *array = json_read(json, strlen(json), 0, NULL);
    assert_true(grants_parse(array, true, &list));
    json_decref(array);
    return list;
}

static struct identity *identity(const char *sub)
{
    struct identity *id = identity_new(sub, strlen(sub), INT64_MAX, 1);
    assert_non_null(id);
    return id;
}

static int setup(void **state)
{
    (void)state;
    bridge = (struct bridge){.conf = &conf, .pg = (struct pg_pool *)(uintptr_t)16};
    asked_count = 0;
    pg_full = false;
    ann = identity("ann");
    bob = identity("bob");
    grants = identity("ann");
    grants->read = list_of("[\"r*\"]");
    grants->write = list_of("[\"w*\"]");
    ticket = identity("ann");
    ticket->ticket = true;
    ticket->read = list_of("[\"r1\"]");
    ticket->owned = list_of("[\"o1\"]");
    local = identity("local");
    local->everything = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    identity_unref(ann);
    identity_unref(bob);
    identity_unref(grants);
    identity_unref(ticket);
    identity_unref(local);
    return bridge.questions ? -1 : 0; /* nothing is left behind */
}

#define NOTHING ((enum access_result)99)

struct probe {
    enum access_result result;
    int calls;
};

static void on_access(enum access_result result, void *arg)
{
    struct probe *p = arg;
    p->result = result;
    p->calls++;
}

static void ask(struct probe *p, struct identity *id, const char *thread,
                enum access_kind kind)
{
    *p = (struct probe){NOTHING, 0};
    access_check(&bridge, id, thread, kind, on_access, p);
}

/* The answer when none needs to be asked for. */
static enum access_result at_once(struct identity *id, const char *thread,
                                  enum access_kind kind)
{
    struct probe p;
    ask(&p, id, thread, kind);
    assert_int_equal(asked_count, 0);
    assert_int_equal(p.calls, 1);
    torture_verdict(p.result == ACCESS_GRANTED || p.result == ACCESS_OWNER);
    return p.result;
}

static void grants_come_first(void **state)
{
    struct probe p;
    (void)state;
    assert_int_equal(at_once(grants, "r1", ACCESS_READ), ACCESS_GRANTED);
    assert_int_equal(at_once(grants, "w1", ACCESS_PUBLISH), ACCESS_GRANTED);
    /* publishing is never an owner's right */
    assert_int_equal(at_once(grants, "r1", ACCESS_PUBLISH), ACCESS_DENIED);
    assert_int_equal(at_once(ann, "t1", ACCESS_PUBLISH), ACCESS_DENIED);
    assert_int_equal(bridge.stats.access_denied, 2);
    /* what no grant covers, ownership may */
    ask(&p, grants, "w1", ACCESS_READ);
    assert_int_equal(asked_count, 1);
    pg_answer(0, 1, "t");
    assert_int_equal(p.result, ACCESS_OWNER);
    ask(&p, grants, "r1", ACCESS_OWN); /* a grant makes no owner */
    assert_int_equal(asked_count, 2);
    pg_answer(1, 1, "f");
    assert_int_equal(p.result, ACCESS_DENIED);
}

static void everything_and_nothing(void **state)
{
    (void)state;
    assert_int_equal(at_once(local, "t1", ACCESS_READ), ACCESS_GRANTED);
    assert_int_equal(at_once(local, "t1", ACCESS_OWN), ACCESS_GRANTED);
    assert_int_equal(at_once(local, "t1", ACCESS_PUBLISH), ACCESS_GRANTED);
    assert_int_equal(at_once(local, "no such:id", ACCESS_READ), ACCESS_DENIED);
    assert_int_equal(at_once(local, "", ACCESS_READ), ACCESS_DENIED);
    bridge.pg = NULL;
    assert_int_equal(at_once(ann, "t1", ACCESS_READ), ACCESS_DENIED);
    assert_int_equal(at_once(ann, "t1", ACCESS_OWN), ACCESS_DENIED);
    assert_int_equal(at_once(grants, "r1", ACCESS_READ), ACCESS_GRANTED);
}

static void a_ticket_is_for_reading(void **state)
{
    struct probe p;
    (void)state;
    assert_int_equal(at_once(ticket, "r1", ACCESS_READ), ACCESS_GRANTED);
    assert_int_equal(at_once(ticket, "r1", ACCESS_OWN), ACCESS_DENIED);
    assert_int_equal(at_once(ticket, "r1", ACCESS_PUBLISH), ACCESS_DENIED);
    assert_int_equal(at_once(ticket, "o1", ACCESS_OWN), ACCESS_DENIED);
    assert_int_equal(at_once(ticket, "t1", ACCESS_READ), ACCESS_DENIED);
    ask(&p, ticket, "o1", ACCESS_READ); /* as long as ann owns it */
    assert_int_equal(asked_count, 1);
    assert_string_equal(asked[0].sub, "ann");
    pg_answer(0, 1, "f");
    assert_int_equal(p.result, ACCESS_DENIED);
}

static void somebody_elses_and_none_look_the_same(void **state)
{
    static const struct {
        int rows;
        const char *value;
        enum access_result result;
    } rows[] = {
        {1, "t", ACCESS_OWNER},   {1, "f", ACCESS_DENIED}, {0, NULL, ACCESS_DENIED},
        {1, NULL, ACCESS_DENIED}, {2, "t", ACCESS_DENIED},
    };
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct probe p;
        ask(&p, ann, "t1", i % 2 ? ACCESS_READ : ACCESS_OWN);
        assert_int_equal(p.calls, 0);
        assert_string_equal(asked[i].id, "t1");
        assert_string_equal(asked[i].sub, "ann");
        pg_answer(i, rows[i].rows, rows[i].value);
        assert_int_equal(p.calls, 1);
        assert_int_equal(p.result, rows[i].result);
    }
}

static void silence_is_not_known(void **state)
{
    static const enum pg_outcome outcomes[] = {PG_FAILED, PG_LOST, PG_UNSENT};
    struct probe p;
    (void)state;
    for (int i = 0; i < 3; i++) {
        ask(&p, ann, "t1", ACCESS_READ);
        pg_fail(i, outcomes[i]);
        assert_int_equal(p.calls, 1);
        assert_int_equal(p.result, ACCESS_UNKNOWN);
    }
    pg_full = true;
    ask(&p, ann, "t1", ACCESS_READ);
    assert_int_equal(p.result, ACCESS_UNKNOWN);
    assert_int_equal(bridge.stats.access_denied, 0);
    assert_int_equal(bridge.stats.pg_errors, 3);
}

static void a_storm_is_one_question(void **state)
{
    static struct probe storm[5000];
    struct probe of_bob, of_t2;
    (void)state;
    for (size_t i = 0; i < 5000; i++)
        ask(&storm[i], ann, "t1", ACCESS_READ);
    assert_int_equal(asked_count, 1);
    ask(&of_bob, bob, "t1", ACCESS_READ);
    ask(&of_t2, ann, "t2", ACCESS_READ);
    assert_int_equal(asked_count, 3);
    pg_answer(0, 1, "t");
    for (size_t i = 0; i < 5000; i++) {
        assert_int_equal(storm[i].calls, 1);
        assert_int_equal(storm[i].result, ACCESS_OWNER);
    }
    assert_int_equal(of_bob.calls + of_t2.calls, 0);
    pg_answer(1, 1, "f");
    pg_answer(2, 0, NULL);
    assert_int_equal(of_bob.result, ACCESS_DENIED);
    assert_int_equal(of_t2.result, ACCESS_DENIED);
    /* an answer is not kept */
    ask(&of_bob, bob, "t1", ACCESS_READ);
    assert_int_equal(asked_count, 4);
    pg_answer(3, 1, "t");
    assert_int_equal(of_bob.result, ACCESS_OWNER);
}

static struct probe asked_again;

static void on_access_ask_again(enum access_result result, void *arg)
{
    on_access(result, arg);
    ask(&asked_again, ann, "t1", ACCESS_READ);
}

static void who_asks_again_does_not_get_the_old_answer(void **state)
{
    struct probe first = {NOTHING, 0}, second;
    (void)state;
    access_check(&bridge, ann, "t1", ACCESS_READ, on_access_ask_again, &first);
    ask(&second, ann, "t1", ACCESS_READ);
    pg_answer(0, 1, "t");
    assert_int_equal(first.result, ACCESS_OWNER);
    assert_int_equal(second.result, ACCESS_OWNER);
    assert_int_equal(asked_again.calls, 0);
    assert_int_equal(asked_count, 2);
    pg_answer(1, 1, "f");
    assert_int_equal(asked_again.result, ACCESS_DENIED);
}

/* The answer was read before the owner changed, and arrives after we were told so. */
static void an_overtaken_answer_is_asked_for_again(void **state)
{
    struct probe before, after, other;
    (void)state;
    ask(&before, ann, "t1", ACCESS_READ);
    ask(&other, ann, "t2", ACCESS_READ);
    access_changed(&bridge, "t1");
    ask(&after, ann, "t1", ACCESS_READ); /* joins */
    assert_int_equal(asked_count, 2);
    pg_answer(0, 1, "t");
    assert_int_equal(before.calls + after.calls, 0);
    assert_int_equal(asked_count, 3);
    pg_answer(2, 1, "f");
    assert_int_equal(before.result, ACCESS_DENIED);
    assert_int_equal(after.result, ACCESS_DENIED);
    pg_answer(1, 1, "t");
    assert_int_equal(other.result, ACCESS_OWNER);
    assert_int_equal(bridge.owner_changes, 1);
}

static void all_may_have_changed(void **state)
{
    struct probe one, two;
    (void)state;
    access_changed(&bridge, NULL); /* nobody asks: nothing happens */
    ask(&one, ann, "t1", ACCESS_READ);
    ask(&two, ann, "t2", ACCESS_READ);
    access_changed(&bridge, NULL);
    pg_answer(0, 1, "t");
    pg_fail(1, PG_LOST);
    assert_int_equal(two.result, ACCESS_UNKNOWN);
    assert_int_equal(asked_count, 3);
    pg_full = true;
    access_changed(&bridge, NULL);
    pg_answer(2, 1, "t"); /* cannot be asked again */
    assert_int_equal(one.result, ACCESS_UNKNOWN);
}

static void names_do_not_run_together(void **state)
{
    struct identity *a = identity("a"), *ab = identity("ab");
    struct probe one, two;
    (void)state;
    ask(&one, a, "bc", ACCESS_READ);
    ask(&two, ab, "c", ACCESS_READ);
    assert_int_equal(asked_count, 2);
    pg_answer(0, 1, "t");
    pg_answer(1, 1, "f");
    assert_int_equal(one.result, ACCESS_OWNER);
    assert_int_equal(two.result, ACCESS_DENIED);
    identity_unref(a);
    identity_unref(ab);
}

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(grants_come_first),
        fresh(everything_and_nothing),
        fresh(a_ticket_is_for_reading),
        fresh(somebody_elses_and_none_look_the_same),
        fresh(silence_is_not_known),
        fresh(a_storm_is_one_question),
        fresh(who_asks_again_does_not_get_the_old_answer),
        fresh(an_overtaken_answer_is_asked_for_again),
        fresh(all_may_have_changed),
        fresh(names_do_not_run_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
