/* loop: one libevent base that reads as a schedule: wait for events, run them, then the
 * end of the turn. Signals, drain, timers. One struct per thread; nothing global. */
#ifndef THREADCAST_LOOP_H
#define THREADCAST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct evdns_base;
struct list;
struct loop;
struct timer;

struct loop *loop_new(void); /* returns new, or NULL */
/* The same with timers exact to 4 ms only: saves a system call a turn. */
struct loop *loop_new_coarse(void);
void loop_free(struct loop *l);
struct event_base *loop_base(struct loop *l);
struct evdns_base *loop_dns(struct loop *l); /* made on first use; NULL on failure */
/* What connections of this loop share, by a node of its own; empty when it is freed. */
struct list *loop_shared(struct loop *l);

/* Called after every turn in which anything ran, in the order of registration. */
void loop_on_turn_end(struct loop *l, void (*fn)(void *arg), void *arg);
/* SIGTERM and SIGINT: the first calls `on_drain`, a second one exits at once (status 1).
 * SIGPIPE is ignored. SIGHUP calls `on_hup` when given. */
bool loop_signals(struct loop *l, void (*on_drain)(void *arg), void (*on_hup)(void *arg),
                  void *arg);
void loop_run(struct loop *l); /* until loop_stop */
void loop_stop(struct loop *l);
/* How late the loop's own heartbeat (every 100 ms) was last, in microseconds, and the
 * latest since it was asked: what a callback may have to wait. */
int64_t loop_lag_us(struct loop *l);
int64_t loop_max_lag_us(struct loop *l);
/* How long ago the heartbeat was last, in ms; from any thread. Grows while a turn hangs.
 */
int64_t loop_silence_ms(const struct loop *l);

/* A timer that runs once per start. Embeds nothing; owned by who made it. */
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void timer_free(struct timer *t); /* NULL is fine; stops it */
void timer_start(struct timer *t, int64_t ms);
void timer_stop(struct timer *t);
bool timer_running(const struct timer *t);

/* Exponential backoff with jitter: 50 ms doubling to `max_ms`, each in [d/2, d). */
struct backoff {
    int attempts;
};
int64_t backoff_next(struct backoff *b, int64_t max_ms);
void backoff_reset(struct backoff *b);

#endif
