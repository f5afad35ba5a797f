/* merges: what was merged for one reader is the same message for the next, another event
 * forgets it, and what cannot be merged stays two. */
#include "bridge/merges.h"

#include "bridge/msg.h"
#include "unit.h"

static struct msg *token(int n, const char *text)
{
    char json[512];
    struct event_view view;

    int len = snprintf(json, sizeof(json),
                       "{\"id\":\"17-%d\",\"type\":\"token\",\"threadId\":\"t1\","
                       "\"content\":\"%s\",\"ts\":1,\"runId\":\"r1\"}",
                       n, text);
    assert_int_equal(event_check(json, (size_t)len, "t1", 2, &view), EVENT_OK);
    struct msg *m = msg_event(json, (size_t)len, &view, NULL);
    assert_non_null(m);
    return m;
}

static bool says(const struct msg *m, const char *text)
{
    assert_non_null(m);
    return memmem(msg_json(m), m->json_len, text, strlen(text)) != NULL;
}

static void test_made_once_for_all_with_the_same_tail(void **state)
{
    (void)state;
    struct merges s = {0};
    struct msg *tail = token(1, "ab"), *m = token(2, "cd");
    struct msg *both = merges_get(&s, tail, m);

    assert_non_null(both);
    assert_true(says(both, "\"content\":\"abcd\""));
    assert_true(says(both, "\"id\":\"17-2\""));
    assert_ptr_equal(merges_get(&s, tail, m), both);
    assert_int_equal(s.count, 1);
    merges_clear(&s);
    assert_int_equal(tail->refs, 1);
    assert_int_equal(m->refs, 1);
    msg_unref(tail);
    msg_unref(m);
}

static void test_another_event_begins_anew(void **state)
{
    (void)state;
    struct merges s = {0};
    struct msg *tail = token(1, "ab"), *m = token(2, "cd"), *next = token(3, "ef");
    struct msg *both = merges_get(&s, tail, m);
    assert_non_null(both);
    struct msg *all = merges_get(&s, msg_ref(both), next);

    assert_true(says(all, "\"content\":\"abcdef\""));
    assert_int_equal(s.count, 1);
    assert_int_equal(tail->refs, 1); /* the first event's were given back */
    merges_clear(&s);
    msg_unref(both);
    msg_unref(tail);
    msg_unref(m);
    msg_unref(next);
}

static void test_what_cannot_be_merged_is_remembered_too(void **state)
{
    (void)state;
    struct merges s = {0};
    char large[200];
    struct msg *tail = token(1, "a");

    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    for (int i = 2; i < 30; i++) { /* until it is as large as it may be */
        struct msg *more = token(i, large), *both = merges_get(&s, tail, more);
        if (both) {
            msg_ref(both);
            msg_unref(tail);
            tail = both;
        }
        merges_clear(&s);
        msg_unref(more);
    }
    struct msg *wide = token(41, large);
    assert_null(merges_get(&s, tail, wide));
    assert_null(merges_get(&s, tail, wide));
    assert_int_equal(s.count, 1);
    merges_clear(&s);
    msg_unref(wide);
    msg_unref(tail);
}

static void test_more_tails_than_are_kept(void **state)
{
    (void)state;
    struct merges s = {0};
    struct msg *tails[MERGES_KEPT + 3], *m = token(90, "!");

    for (int i = 0; i < MERGES_KEPT + 3; i++) {
        char text[8];
        snprintf(text, sizeof(text), "t%d", i);
        tails[i] = token(i + 1, text);
        assert_true(says(merges_get(&s, tails[i], m), "!"));
        assert_true(s.count <= MERGES_KEPT);
    }
    assert_true(says(merges_get(&s, tails[0], m), "\"content\":\"t0!\""));
    merges_clear(&s);
    for (int i = 0; i < MERGES_KEPT + 3; i++) {
        assert_int_equal(tails[i]->refs, 1);
        msg_unref(tails[i]);
    }
    assert_int_equal(m->refs, 1);
    msg_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_once_for_all_with_the_same_tail),
        cmocka_unit_test(test_another_event_begins_anew),
        cmocka_unit_test(test_what_cannot_be_merged_is_remembered_too),
        cmocka_unit_test(test_more_tails_than_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
