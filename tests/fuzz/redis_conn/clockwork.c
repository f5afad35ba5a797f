/* The functions of common/loop.h and common/redis_dial.h that the linker gives to
 * common/redis*.c in place of the real ones (--wrap). */
#include "clockwork.h"

#include "../fuzz.h"

#include "common/loop.h"

struct timer {
    struct list in;
    void (*fn)(void *arg);
    void *arg;
    int64_t due_ms; /* -1: stopped */
};

struct list timers = {&timers, &timers};
struct redis_dial *dial;
static int64_t now_ms;

/* NOLINTBEGIN(bugprone-reserved-identifier): the names that --wrap makes */
int64_t __wrap_clock_ms(void);
struct timer *__wrap_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void __wrap_timer_free(struct timer *t);
void __wrap_timer_start(struct timer *t, int64_t ms);
void __wrap_timer_stop(struct timer *t);
bool __wrap_timer_running(const struct timer *t);
struct redis_dial *__wrap_redis_dial_start(struct loop *l, const struct redis_url *url,
                                           int64_t budget_ms, redis_dial_fn *fn,
                                           void *arg);
void __wrap_redis_dial_cancel(struct redis_dial *d);

int64_t __wrap_clock_ms(void)
{
    return now_ms;
}

struct timer *__wrap_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct timer *t = malloc(sizeof(*t));

    (void)l;
    MUST(t);
    *t = (struct timer){.fn = fn, .arg = arg, .due_ms = -1};
    list_push(&timers, &t->in);
    return t;
}

void __wrap_timer_free(struct timer *t)
{
    if (t)
        list_remove(&t->in);
    free(t);
}

void __wrap_timer_start(struct timer *t, int64_t ms)
{
    t->due_ms = now_ms + ms;
}

void __wrap_timer_stop(struct timer *t)
{
    t->due_ms = -1;
}

bool __wrap_timer_running(const struct timer *t)
{
    return t->due_ms >= 0;
}

struct redis_dial *__wrap_redis_dial_start(struct loop *l, const struct redis_url *url,
                                           int64_t budget_ms, redis_dial_fn *fn,
                                           void *arg)
{
    (void)l, (void)url, (void)budget_ms;
    MUST(!dial);
    dial = malloc(sizeof(*dial));
    MUST(dial);
    *dial = (struct redis_dial){fn, arg};
    return dial;
}

void __wrap_redis_dial_cancel(struct redis_dial *d)
{
    MUST(!d || d == dial);
    if (d)
        dial = NULL;
    free(d);
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* The timers that are due, the earliest first. */
void time_passes(int64_t ms)
{
    struct timer *first;

    now_ms += ms;
    do {
        first = NULL;
        LIST_EACH(node, next, &timers) {
            struct timer *t = LIST_ITEM(node, struct timer, in);
            if (t->due_ms >= 0 && t->due_ms <= now_ms &&
                (!first || t->due_ms < first->due_ms))
                first = t;
        }
        if (first) {
            first->due_ms = -1;
            first->fn(first->arg);
        }
    } while (first);
}

void time_begins(void)
{
    MUST(list_empty(&timers) && !dial);
    now_ms = 1000;
}
