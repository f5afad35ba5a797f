/* ears: who says something is heard, who leaves is heard, who was taken off is not; and a
 * crowd does not hold up the loop. */
#include "bridge/ears.h"

#include "common/loop.h"
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

enum { CROWD = 300 };

struct talk {
    struct loop *loop;
    struct ears *ears;
    int ours[CROWD], theirs[CROWD];
    int heard[CROWD], wanted, turn, most, turns;
    bool gone;
};

static struct talk talk;

static void on_heard(void *arg)
{
    char byte;
    int i = (int)((int *)arg - talk.heard);

    talk.heard[i]++;
    talk.turn++;
    talk.gone = recv(talk.ours[i], &byte, 1, 0) == 0;
    if (--talk.wanted == 0)
        loop_stop(talk.loop);
}

static void on_turn_end(void *arg)
{
    (void)arg;
    talk.turns++;
    if (talk.turn > talk.most)
        talk.most = talk.turn;
    talk.turn = 0;
}

static void hear(int wanted)
{
    talk.wanted = wanted;
    talk.most = talk.turns = 0;
    loop_run(talk.loop);
}

static int setup(void **state)
{
    (void)state;
    talk = (struct talk){.loop = loop_new()};
    assert_non_null(talk.loop);
    loop_on_turn_end(talk.loop, on_turn_end, NULL);
    talk.ears = ears_new(talk.loop, on_heard);
    assert_non_null(talk.ears);
    for (int i = 0; i < CROWD; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        talk.ours[i] = pair[0];
        talk.theirs[i] = pair[1];
        assert_true(ears_add(talk.ears, pair[0], &talk.heard[i]));
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < CROWD; i++) {
        ears_remove(talk.ears, talk.ours[i]);
        close(talk.ours[i]);
        close(talk.theirs[i]);
    }
    ears_free(talk.ears);
    loop_free(talk.loop);
    return 0;
}

static void hears_words_and_the_end(void **state)
{
    (void)state;
    assert_int_equal(write(talk.theirs[7], "x", 1), 1);
    hear(1);
    assert_int_equal(talk.heard[7], 1);
    assert_false(talk.gone);
    shutdown(talk.theirs[9], SHUT_WR);
    hear(1);
    assert_int_equal(talk.heard[9], 1);
    assert_true(talk.gone);
}

static void hears_nobody_who_was_taken_off(void **state)
{
    (void)state;
    assert_int_equal(write(talk.theirs[3], "x", 1), 1);
    assert_int_equal(write(talk.theirs[4], "x", 1), 1);
    ears_remove(talk.ears, talk.ours[3]);
    hear(1);
    assert_int_equal(talk.heard[3], 0);
    assert_int_equal(talk.heard[4], 1);
}

static void a_crowd_is_heard_in_several_turns(void **state)
{
    (void)state;
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(write(talk.theirs[i], "x", 1), 1);
    hear(CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(talk.heard[i], 1);
    assert_in_range(talk.most, 1, 32);
    assert_true(talk.turns >= CROWD / 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hears_words_and_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(hears_nobody_who_was_taken_off, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crowd_is_heard_in_several_turns, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
