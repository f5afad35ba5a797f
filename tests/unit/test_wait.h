/* For tests that wait on a loop: runs it until a condition holds, never sleeps. */
#ifndef THREADCAST_TEST_WAIT_H
#define THREADCAST_TEST_WAIT_H

#include "common/clock.h"
#include "common/loop.h"
#include "torture.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <stdbool.h>

static inline void test_wait_timeout(void *arg)
{
    bool *passed = arg;

    *passed = true;
}

/* false: `ms` passed before `met` said true. */
static inline bool test_wait(struct loop *l, bool (*met)(void *arg), void *arg,
                             int64_t ms)
{
    bool passed = false;
    struct timer *timer = timer_new(l, test_wait_timeout, &passed);

    if (!timer)
        return met(arg);
    timer_start(timer, torture_patience_ms(ms));
    while (!met(arg) && !passed)
        event_base_loop(loop_base(l), EVLOOP_ONCE);
    timer_free(timer);
    return met(arg);
}

/* Lets what is due now, and what that makes due, happen. */
static inline void test_turns(struct loop *l, int turns)
{
    while (turns-- > 0)
        event_base_loop(loop_base(l), EVLOOP_NONBLOCK);
}

/* Names are asked for on loopback, where nobody answers, not in the machine's network. */
static inline void test_deaf_name_server(struct loop *l)
{
    evdns_base_clear_nameservers_and_suspend(loop_dns(l));
    evdns_base_nameserver_ip_add(loop_dns(l), "127.0.0.1:9");
    evdns_base_resume(loop_dns(l));
}

#endif
