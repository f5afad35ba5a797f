/* loop: wait, run what is ready, end the turn; again. Everything in a daemon happens
 * inside one of these turns, so nothing called from here may block. */
#include "common/loop.h"

#include "common/clock.h"
#include "common/list.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { LOOP_HEARTBEAT_MS = 100, BACKOFF_FIRST_MS = 50, OWED_MS = 5 };

struct hook {
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    struct event_base *base;
    struct evdns_base *dns;
    struct list shared;
    struct list owed; /* timers that libevent had no memory for */
    int owed_fd;
    struct event *owed_ev;
    struct hook *hooks; /* run at the end of every turn */
    size_t hook_count;
    struct event *sigterm, *sigint, *sighup;
    void (*on_drain)(void *arg);
    void (*on_hup)(void *arg);
    void *signal_arg;
    int stop_signals; /* SIGTERM and SIGINT seen */
    bool stop;
    /* comes late when a turn was long, whatever made it so */
    struct timer *heartbeat;
    int64_t heartbeat_due_us;
    int64_t lag_us, max_lag_us;
    atomic_int_fast64_t beat_ms; /* read by other threads */
};

/* --- timers ------------------------------------------------------------------ */

/* Adding a timer to libevent may take memory, and nobody who starts one could do anything
 * else than wait. So one that it could not take is owed: it comes by a clock that was
 * made with the loop, or goes to libevent as soon as that has memory again. */

struct timer {
    struct loop *loop;
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
    struct list owed;
    int64_t due_ms; /* when owed */
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = arg;

    (void)fd, (void)what;
    t->fn(t->arg); /* may free t */
}

static bool hand_over(struct timer *t, int64_t ms)
{
    struct timeval tv = {.tv_sec = 0};

    if (ms > 0) {
        tv.tv_sec = ms / 1000;
        tv.tv_usec = ms % 1000 * 1000;
    }
    return evtimer_add(t->ev, &tv) == 0;
}

static void owe(struct timer *t)
{
    const struct itimerspec soon = {.it_value.tv_nsec = OWED_MS * 1000000L};

    list_push(&t->loop->owed, &t->owed);
    timerfd_settime(t->loop->owed_fd, 0, &soon, NULL);
}

static void on_owed(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    int64_t now = clock_ms();
    struct list all;
    uint64_t times;

    (void)what;
    if (read(fd, &times, sizeof(times)) < 0)
        return;
    list_init(&all);
    LIST_EACH(node, tmp, &l->owed) {
        list_remove(node);
        list_push(&all, node);
    }
    while (!list_empty(&all)) { /* what is called may free any of them, or owe it again */
        struct timer *t = LIST_ITEM(list_next(&all), struct timer, owed);
        list_remove(&t->owed);
        if (t->due_ms <= now)
            t->fn(t->arg);
        else if (!hand_over(t, t->due_ms - now))
            owe(t);
    }
}

static bool owed_new(struct loop *l)
{
    list_init(&l->owed);
    l->owed_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->owed_fd < 0)
        return false;
    l->owed_ev = event_new(l->base, l->owed_fd, EV_READ | EV_PERSIST, on_owed, l);
    return l->owed_ev && event_add(l->owed_ev, NULL) == 0;
}

struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct timer *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct timer){.loop = l, .fn = fn, .arg = arg};
    list_init(&t->owed);
    t->ev = evtimer_new(l->base, on_timer, t);
    if (!t->ev) {
        free(t);
        return NULL;
    }
    return t;
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    list_remove(&t->owed);
    event_free(t->ev);
    free(t);
}

void timer_start(struct timer *t, int64_t ms)
{
    list_remove(&t->owed);
    if (hand_over(t, ms))
        return;
    evtimer_del(t->ev); /* it may be about to run */
    t->due_ms = clock_ms() + (ms > 0 ? ms : 0);
    owe(t);
}

void timer_stop(struct timer *t)
{
    list_remove(&t->owed);
    evtimer_del(t->ev);
}

bool timer_running(const struct timer *t)
{
    return !list_empty(&t->owed) || evtimer_pending(t->ev, NULL) != 0;
}

/* --- the loop ---------------------------------------------------------------- */

static void note_lag(struct loop *l, int64_t us)
{
    if (us < 0)
        us = 0;
    l->lag_us = us;
    if (us > l->max_lag_us)
        l->max_lag_us = us;
}

static void heartbeat_start(struct loop *l)
{
    atomic_store_explicit(&l->beat_ms, clock_ms(), memory_order_relaxed);
    l->heartbeat_due_us = clock_us() + LOOP_HEARTBEAT_MS * 1000;
    timer_start(l->heartbeat, LOOP_HEARTBEAT_MS);
}

static void on_heartbeat(void *arg)
{
    struct loop *l = arg;

    note_lag(l, clock_us() - l->heartbeat_due_us);
    heartbeat_start(l);
}

static struct loop *make(int flags)
{
    struct loop *l = calloc(1, sizeof(*l));
    struct event_config *config = event_config_new();

    if (!l)
        goto fail;
    l->owed_fd = -1;
    if (!config)
        goto fail;
    list_init(&l->shared);
    event_config_set_flag(config, flags);
    l->base = event_base_new_with_config(config);
    if (!l->base)
        goto fail;
    atomic_init(&l->beat_ms, clock_ms());
    if (!owed_new(l))
        goto fail;
    l->heartbeat = timer_new(l, on_heartbeat, l);
    if (!l->heartbeat)
        goto fail;
    event_config_free(config);
    return l;
fail:
    if (config)
        event_config_free(config);
    loop_free(l);
    return NULL;
}

struct loop *loop_new(void)
{
    /* without it timers stand on a clock of 4 ms */
    return make(EVENT_BASE_FLAG_PRECISE_TIMER);
}

struct loop *loop_new_coarse(void)
{
    return make(0);
}

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    timer_free(l->heartbeat);
    free_event(l->sigterm);
    free_event(l->sigint);
    free_event(l->sighup);
    free_event(l->owed_ev);
    if (l->owed_fd >= 0)
        close(l->owed_fd);
    if (l->dns)
        evdns_base_free(l->dns, 0);
    if (l->base)
        event_base_free(l->base);
    free(l->hooks);
    free(l);
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

struct evdns_base *loop_dns(struct loop *l)
{
    if (l->dns)
        return l->dns;
    l->dns = evdns_base_new(l->base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                         EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (!l->dns) {
        /* no nameserver is configured: what /etc/hosts says must still work */
        l->dns = evdns_base_new(l->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        if (l->dns)
            evdns_base_load_hosts(l->dns, "/etc/hosts");
    }
    return l->dns;
}

struct list *loop_shared(struct loop *l)
{
    return &l->shared;
}

void loop_on_turn_end(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct hook *hooks = realloc(l->hooks, (l->hook_count + 1) * sizeof(*hooks));

    if (!hooks)
        abort(); /* at start, and a daemon without its schedule must not run */
    hooks[l->hook_count++] = (struct hook){fn, arg};
    l->hooks = hooks;
}

/* --- signals ----------------------------------------------------------------- */

static void exit_now(int signal_number)
{
    (void)signal_number;
    _exit(1);
}

static void on_stop_signal(evutil_socket_t fd, short what, void *arg)
{
    struct sigaction now = {.sa_handler = exit_now};
    struct loop *l = arg;

    (void)fd, (void)what;
    if (++l->stop_signals > 1)
        _exit(1);
    /* the next one must end us even if a turn hangs */
    sigaction(SIGTERM, &now, NULL);
    sigaction(SIGINT, &now, NULL);
    l->on_drain(l->signal_arg);
}

static void on_hup_signal(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;

    (void)fd, (void)what;
    l->on_hup(l->signal_arg);
}

static struct event *watch_signal(struct loop *l, int number, event_callback_fn fn)
{
    struct event *ev = evsignal_new(l->base, number, fn, l);

    if (ev && evsignal_add(ev, NULL) < 0) {
        event_free(ev);
        return NULL;
    }
    return ev;
}

bool loop_signals(struct loop *l, void (*on_drain)(void *arg), void (*on_hup)(void *arg),
                  void *arg)
{
    l->on_drain = on_drain;
    l->on_hup = on_hup;
    l->signal_arg = arg;
    signal(SIGPIPE, SIG_IGN);
    l->sigterm = watch_signal(l, SIGTERM, on_stop_signal);
    l->sigint = watch_signal(l, SIGINT, on_stop_signal);
    if (on_hup)
        l->sighup = watch_signal(l, SIGHUP, on_hup_signal);
    return l->sigterm && l->sigint && (!on_hup || l->sighup);
}

/* --- turns ------------------------------------------------------------------- */

static void turn(struct loop *l)
{
    event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
    for (size_t i = 0; i < l->hook_count; i++)
        l->hooks[i].fn(l->hooks[i].arg);
}

void loop_run(struct loop *l)
{
    heartbeat_start(l);
    while (!l->stop)
        turn(l);
    l->stop = false;
    timer_stop(l->heartbeat);
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

int64_t loop_lag_us(struct loop *l)
{
    return l->lag_us;
}

int64_t loop_max_lag_us(struct loop *l)
{
    int64_t us = l->max_lag_us;

    l->max_lag_us = 0;
    return us;
}

int64_t loop_silence_ms(const struct loop *l)
{
    return clock_ms() - atomic_load_explicit(&l->beat_ms, memory_order_relaxed);
}

/* --- backoff ----------------------------------------------------------------- */

int64_t backoff_next(struct backoff *b, int64_t max_ms)
{
    int64_t ms = BACKOFF_FIRST_MS;

    for (int i = 0; i < b->attempts && ms < max_ms; i++)
        ms *= 2;
    if (b->attempts < 62)
        b->attempts++;
    if (ms > max_ms)
        ms = max_ms;
    return ms / 2 + (clock_jitter(ms) - ms / 2) / 2;
}

void backoff_reset(struct backoff *b)
{
    b->attempts = 0;
}
