#include "common/loop.h"

#include "common/clock.h"
#include "unit.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the callbacks of one test see. */
struct scene {
    struct loop *loop;
    struct timer *timer, *other;
    int fired, turns;
    char order[16];
};

static void *made(void *p)
{
    assert_non_null(p);
    return p;
}

static void on_stop(void *arg)
{
    struct scene *s = arg;

    s->fired++;
    loop_stop(s->loop);
}

static void on_first_hook(void *arg)
{
    struct scene *s = arg;

    s->order[s->turns++] = '1';
}

static void on_second_hook(void *arg)
{
    struct scene *s = arg;

    s->order[s->turns++] = '2';
}

static void ends_turns_in_order(void **state)
{
    struct scene s = {.loop = made(loop_new())};

    (void)state;
    loop_on_turn_end(s.loop, on_first_hook, &s);
    loop_on_turn_end(s.loop, on_second_hook, &s);
    s.timer = made(timer_new(s.loop, on_stop, &s));
    timer_start(s.timer, 0);
    loop_run(s.loop);
    assert_string_equal(s.order, "12");
    timer_free(s.timer);
    loop_free(s.loop);
}

static void on_again(void *arg)
{
    struct scene *s = arg;

    if (++s->fired == 3)
        loop_stop(s->loop);
    else
        timer_start(s->timer, 5);
}

static void runs_timers_once_per_start(void **state)
{
    struct scene s = {.loop = made(loop_new())};
    int64_t start = clock_ms();

    (void)state;
    s.timer = made(timer_new(s.loop, on_again, &s));
    s.other = made(timer_new(s.loop, on_stop, &s));
    assert_false(timer_running(s.timer));
    timer_start(s.other, 60000);
    timer_stop(s.other);
    assert_false(timer_running(s.other));
    timer_stop(s.other);
    timer_start(s.timer, 60000);
    timer_start(s.timer, 5); /* the later start counts */
    assert_true(timer_running(s.timer));
    loop_run(s.loop);
    assert_int_equal(s.fired, 3);
    assert_true(clock_ms() - start >= 14);
    assert_false(timer_running(s.timer));
    timer_free(s.timer);
    timer_free(s.other);
    timer_free(NULL);
    loop_free(s.loop);
}

static void on_free_itself(void *arg)
{
    struct scene *s = arg;

    timer_free(s->timer);
    loop_stop(s->loop);
}

static void timers_may_free_themselves(void **state)
{
    struct scene s = {.loop = made(loop_new())};

    (void)state;
    s.timer = made(timer_new(s.loop, on_free_itself, &s));
    timer_start(s.timer, -5);
    loop_run(s.loop);
    loop_free(s.loop);
    loop_free(NULL);
}

static void stops_before_it_runs(void **state)
{
    struct scene s = {.loop = made(loop_new())};

    (void)state;
    loop_stop(s.loop);
    loop_run(s.loop);
    s.timer = made(timer_new(s.loop, on_stop, &s));
    timer_start(s.timer, 0);
    loop_run(s.loop); /* that stop is used up: this one waits for the timer */
    assert_int_equal(s.fired, 1);
    timer_free(s.timer);
    loop_free(s.loop);
}

/* --- timers that libevent has no memory for --------------------------------------- */

static bool no_memory;

static void *some_malloc(size_t size)
{
    return no_memory ? NULL : malloc(size);
}

static void *some_realloc(void *old, size_t size)
{
    return no_memory ? NULL : realloc(old, size);
}

enum { OWED = 100 };

/* Many timers, of which libevent's heap takes the first few only. */
struct crowd {
    struct loop *loop;
    struct timer *timers[OWED];
    int fired, wanted;
};

static void on_one_of_many(void *arg)
{
    struct crowd *c = arg;

    if (++c->fired == c->wanted)
        loop_stop(c->loop);
}

static void crowd_start(struct crowd *c)
{
    event_set_mem_functions(some_malloc, some_realloc, free);
    c->loop = made(loop_new());
    for (int i = 0; i < OWED; i++)
        c->timers[i] = made(timer_new(c->loop, on_one_of_many, c));
    no_memory = true;
}

static void crowd_end(struct crowd *c)
{
    no_memory = false;
    for (int i = 0; i < OWED; i++)
        timer_free(c->timers[i]);
    loop_free(c->loop);
    event_set_mem_functions(malloc, realloc, free);
}

static void timers_come_without_memory(void **state)
{
    struct crowd c = {.wanted = OWED - 2};
    int64_t start = clock_ms();

    (void)state;
    crowd_start(&c);
    for (int i = 0; i < OWED; i++) {
        timer_start(c.timers[i], 60000);
        timer_start(c.timers[i], 30);
        assert_true(timer_running(c.timers[i]));
    }
    timer_stop(c.timers[OWED - 1]);
    assert_false(timer_running(c.timers[OWED - 1]));
    timer_free(c.timers[OWED - 2]);
    c.timers[OWED - 2] = NULL;
    loop_run(c.loop);
    assert_true(clock_ms() - start >= 29);
    for (int i = 0; i < OWED - 2; i++)
        assert_false(timer_running(c.timers[i]));
    assert_int_equal(c.fired, OWED - 2);
    crowd_end(&c);
}

static void on_memory_again(void *arg)
{
    struct crowd *c = arg;

    no_memory = false;
    on_one_of_many(c);
}

static void timers_are_libevents_again(void **state)
{
    struct crowd c = {.wanted = OWED + 1};
    int64_t start = clock_ms();
    struct timer *first;

    (void)state;
    crowd_start(&c);
    no_memory = false;
    first = made(timer_new(c.loop, on_memory_again, &c));
    no_memory = true;
    for (int i = 0; i < OWED; i++)
        timer_start(c.timers[i], 60);
    timer_start(first, 0);
    loop_run(c.loop);
    assert_true(clock_ms() - start >= 59);
    assert_int_equal(c.fired, OWED + 1);
    timer_free(first);
    crowd_end(&c);
}

/* One that frees the next, and itself, while all are owed. */
static void on_free_all(void *arg)
{
    struct crowd *c = arg;

    for (int i = 0; i < OWED; i++) {
        timer_free(c->timers[i]);
        c->timers[i] = NULL;
    }
    on_one_of_many(c);
}

static void owed_timers_may_free_each_other(void **state)
{
    struct crowd c = {.wanted = 1};

    (void)state;
    crowd_start(&c);
    no_memory = false;
    for (int i = 0; i < OWED; i++) {
        timer_free(c.timers[i]);
        c.timers[i] = made(timer_new(c.loop, on_free_all, &c));
    }
    no_memory = true;
    for (int i = 0; i < OWED; i++)
        timer_start(c.timers[i], 1);
    loop_run(c.loop);
    assert_int_equal(c.fired, 1);
    crowd_end(&c);
}

static void on_block(void *arg)
{
    struct scene *s = arg;

    /* a call that waits: exactly what must not happen in a loop, and must be seen */
    if (s->turns++ == 0) {
        usleep(150000);
        timer_start(s->timer, 0);
    } else {
        loop_stop(s->loop);
    }
}

static void measures_its_lag(void **state)
{
    struct scene s = {.loop = made(loop_new())};

    (void)state;
    s.timer = made(timer_new(s.loop, on_block, &s));
    timer_start(s.timer, 0);
    loop_run(s.loop);
    assert_true(loop_lag_us(s.loop) >= 40000);
    assert_true(loop_max_lag_us(s.loop) >= 40000);
    assert_int_equal(loop_max_lag_us(s.loop), 0);
    timer_free(s.timer);
    loop_free(s.loop);
}

static void makes_one_resolver(void **state)
{
    struct loop *l = made(loop_new());

    (void)state;
    assert_non_null(loop_dns(l));
    assert_ptr_equal(loop_dns(l), loop_dns(l));
    assert_non_null(loop_base(l));
    loop_free(l);
}

/* --- signals: each in a process of its own ---------------------------------------- */

static int exit_status(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void on_raise(void *arg)
{
    (void)arg;
    raise(SIGTERM);
}

static void on_drain_stop(void *arg)
{
    loop_stop(((struct scene *)arg)->loop);
}

static void on_drain_hang(void *arg)
{
    (void)arg;
    raise(SIGINT); /* the second one, while this turn never ends */
    for (;;)
        pause();
}

static void on_drain_wait(void *arg)
{
    struct scene *s = arg;

    timer_start(s->timer, 0); /* raises once more in a later turn */
}

static void on_hup(void *arg)
{
    struct scene *s = arg;

    s->fired++;
    raise(SIGPIPE); /* ignored */
    raise(SIGTERM);
}

static void on_raise_hup(void *arg)
{
    (void)arg;
    raise(SIGHUP);
}

/* Runs a loop whose first timer calls `first`, until SIGTERM's `drain` ends it. */
static pid_t run_child(void (*first)(void *), void (*drain)(void *))
{
    pid_t pid = fork();

    if (pid == 0) {
        struct scene s = {.loop = loop_new()};
        bool ok = s.loop && loop_signals(s.loop, drain, on_hup, &s);
        s.timer = s.loop ? timer_new(s.loop, first, &s) : NULL;
        if (!ok || !s.timer)
            _exit(2);
        timer_start(s.timer, 0);
        alarm(20);
        loop_run(s.loop);
        timer_free(s.timer);
        loop_free(s.loop);
        _exit(40 + s.fired);
    }
    return pid;
}

static void drains_on_the_first_signal(void **state)
{
    (void)state;
    assert_int_equal(exit_status(run_child(on_raise, on_drain_stop)), 40);
}

static void exits_on_the_second_signal(void **state)
{
    (void)state;
    assert_int_equal(exit_status(run_child(on_raise, on_drain_wait)), 1);
    assert_int_equal(exit_status(run_child(on_raise, on_drain_hang)), 1);
}

static void reports_hup_and_ignores_pipe(void **state)
{
    (void)state;
    assert_int_equal(exit_status(run_child(on_raise_hup, on_drain_stop)), 41);
}

/* --- backoff ---------------------------------------------------------------------- */

static void backs_off(void **state)
{
    static const int64_t steps[] = {50, 100, 200, 400, 800, 1000, 1000};
    struct backoff b = {0};

    (void)state;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < COUNT(steps); i++) {
            int64_t ms = backoff_next(&b, 1000);
            assert_true(ms >= steps[i] / 2 && ms < steps[i]);
        }
        backoff_reset(&b);
    }
    for (int i = 0; i < 1000; i++)
        assert_true(backoff_next(&b, INT64_MAX / 4) > 0);
    assert_int_equal(backoff_next(&b, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_turns_in_order),
        cmocka_unit_test(runs_timers_once_per_start),
        cmocka_unit_test(timers_may_free_themselves),
        cmocka_unit_test(stops_before_it_runs),
        cmocka_unit_test(timers_come_without_memory),
        cmocka_unit_test(timers_are_libevents_again),
        cmocka_unit_test(owed_timers_may_free_each_other),
        cmocka_unit_test(measures_its_lag),
        cmocka_unit_test(makes_one_resolver),
        cmocka_unit_test(drains_on_the_first_signal),
        cmocka_unit_test(exits_on_the_second_signal),
        cmocka_unit_test(reports_hup_and_ignores_pipe),
        cmocka_unit_test(backs_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
