/* round: every reactor is asked in its own thread and answers together; one that hangs is
 * left out, and what it says later harms nobody. */
#include "bridge/round.h"

#include "bridge/bridge.h"
#include "bridge/conf.h"
#include "bridge/reactors.h"
#include "common/loop.h"
#include "unit.h"

#include <pthread.h>
#include <string.h>

enum { REACTORS = 3 };

static struct bridge_conf conf;
static struct bridge bridges[REACTORS], *all[REACTORS];
static struct reactors reactors = {.conf = &conf, .all = all, .count = REACTORS};
static pthread_t threads[REACTORS];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* locked: number 2 hangs */
static pthread_t main_thread;

struct answer {
    unsigned number;
    bool elsewhere; /* asked in another thread than the asking one's */
    char word[8];
};

static struct {
    int done;
    size_t answered;
    bool others_elsewhere, words_right;
} told;

static void *run(void *arg)
{
    loop_run(((struct bridge *)arg)->loop);
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    conf.upstream_timeout_ms = 60000;
    conf.max_rounds = 1000;
    main_thread = pthread_self();
    memset(&told, 0, sizeof(told));
    for (unsigned i = 0; i < REACTORS; i++) {
        struct loop *loop = loop_new();
        bridges[i] = (struct bridge){.reactors = &reactors,
                                     .number = i,
                                     .conf = &conf,
                                     .loop = loop,
                                     .mailbox = mailbox_new(loop)};
        all[i] = &bridges[i];
    }
    for (unsigned i = 1; i < REACTORS; i++)
        if (pthread_create(&threads[i], NULL, run, all[i]))
            return -1;
    return 0;
}

static void each_stop(struct round_part *part)
{
    loop_stop(part->bridge->loop);
    round_answer(part);
}

static int teardown(void **state)
{
    static const struct round_kind stop = {.each = each_stop};
    bool any = true;

    (void)state;
    round_ask(all[0], &stop, NULL, NULL);
    for (unsigned i = 1; i < REACTORS; i++)
        pthread_join(threads[i], NULL);
    while (any) {
        any = false;
        for (unsigned i = 0; i < REACTORS; i++)
            any |= mailbox_deliver(bridges[i].mailbox);
    }
    for (unsigned i = 0; i < REACTORS; i++) {
        mailbox_free(bridges[i].mailbox);
        loop_free(bridges[i].loop);
    }
    return 0;
}

static void each(struct round_part *part)
{
    struct answer *a = part->answer;

    if (part->bridge->number == 2) {
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
    }
    a->number = part->bridge->number;
    a->elsewhere = !pthread_equal(pthread_self(), main_thread);
    memcpy(a->word, part->question, sizeof(a->word));
    round_answer(part);
}

static void done(const struct round *r, void *arg)
{
    const char *word = arg;

    told.done++;
    told.answered = 0;
    told.others_elsewhere = told.words_right = true;
    assert_int_equal(round_size(r), REACTORS);
    assert_ptr_equal(round_from(r), all[0]);
    for (size_t i = 0; i < round_size(r); i++) {
        const struct answer *a = round_said(r, i);
        if (!a)
            continue;
        told.answered++;
        assert_int_equal(a->number, i);
        told.others_elsewhere &= a->elsewhere == (i > 0);
        told.words_right &= strcmp(a->word, word) == 0;
    }
    loop_stop(all[0]->loop);
}

static const struct round_kind kind = {
    .question_size = 8, .answer_size = sizeof(struct answer), .each = each, .done = done};

static void ask(char *word)
{
    char question[8] = "";

    strncpy(question, word, sizeof(question) - 1);
    assert_true(round_ask(all[0], &kind, question, word));
    memset(question, 'x', sizeof(question)); /* it was copied */
    loop_run(all[0]->loop);
}

static void test_all_answer(void **state)
{
    (void)state;
    for (int i = 1; i <= 100; i++) {
        ask("hello");
        assert_int_equal(told.done, i);
        assert_int_equal(told.answered, REACTORS);
        assert_true(told.others_elsewhere && told.words_right);
    }
}

static void test_one_hangs(void **state)
{
    (void)state;
    conf.upstream_timeout_ms = 1;
    pthread_mutex_lock(&gate);
    ask("first");
    assert_int_equal(told.answered, REACTORS - 1);
    ask("second");
    assert_int_equal(told.answered, REACTORS - 1);
    pthread_mutex_unlock(&gate);
    conf.upstream_timeout_ms = 60000;
    ask("third"); /* the late answers come before this one's, and are not told again */
    assert_int_equal(told.done, 3);
    assert_int_equal(told.answered, REACTORS);
    assert_true(told.words_right);
}

/* It still has two questions when the third comes: that one is not put to it. */
static void test_not_asked_for_ever(void **state)
{
    static const struct round_kind bounded = {.question_size = 8,
                                              .answer_size = sizeof(struct answer),
                                              .bounded = true,
                                              .each = each,
                                              .done = done},
                                   nobody_waits = {.question_size = 8,
                                                   .answer_size = sizeof(struct answer),
                                                   .bounded = true,
                                                   .each = each};
    char word[8] = "again";
    bool room;

    (void)state;
    conf.max_rounds = 2;
    conf.upstream_timeout_ms = 1;
    pthread_mutex_lock(&gate);
    ask("first");
    ask("second");
    room = round_room(all[0]);
    if (room) /* else what follows waits for ever */
        pthread_mutex_unlock(&gate);
    assert_false(room);
    conf.upstream_timeout_ms = 60000; /* nobody waits so long for it */
    assert_true(round_ask(all[0], &bounded, word, word));
    loop_run(all[0]->loop);
    assert_int_equal(told.done, 3);
    assert_int_equal(told.answered, REACTORS - 1);
    assert_int_equal(all[0]->stats.limit_rounds, 1);
    assert_false(round_ask(all[0], &nobody_waits, word, NULL)); /* and says so */
    assert_int_equal(all[0]->stats.limit_rounds, 2);
    pthread_mutex_unlock(&gate);
    ask("third"); /* must arrive, and does behind the others */
    assert_int_equal(told.answered, REACTORS);
    assert_true(round_room(all[0]));
}

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {fresh(test_all_answer), fresh(test_one_hangs),
                                       fresh(test_not_asked_for_ever)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
