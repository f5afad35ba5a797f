/* keywait: see the header.
 *
 *   auth_require ─▶ keywait_park ─▶ number 0: keyring_want ─▶ … ─▶ keywait_over ─▶ again
 *
 * However many wait, number 0 is asked once; and when it says that the issuer was asked a
 * moment ago, nobody asks again before that has passed. Connections are what limits how
 * many wait. */
#include "bridge/keywait.h"

#include "bridge/bridge.h"
#include "bridge/identity.h"
#include "bridge/keyring.h"
#include "bridge/request.h"
#include "bridge/round.h"
#include "bridge/stream.h"
#include "common/clock.h"
#include "common/loop.h"

#include <stdlib.h>

struct waiter {
    struct list node;
    struct request *r;
    int64_t until_ms; /* monotonic */
};

struct keywait {
    struct bridge *bridge;
    struct list waiters; /* the first one's time is over first */
    struct timer *timer;
    bool asking;           /* number 0 has not said yet whether it asks */
    int64_t not_before_ms; /* monotonic: the issuer is not asked before */
};

/* A stream counts as somebody's, if only for the moment of its `busy`. */
static bool stranger(struct request *r)
{
    static const char sub[] = "(unknown)";

    if (!r->identity)
        r->identity = identity_new(sub, sizeof(sub) - 1, INT64_MAX, INT64_MAX);
    return r->identity != NULL;
}

static void refuse(struct request *r)
{
    if (!r->conn)
        return;
    if (r->stream && stranger(r))
        stream_busy(r, "the issuer's keys are not here yet");
    else
        request_error(r, 503, "keys_unavailable",
                      "the issuer's keys are not here yet: try again");
}

static void let_go(struct waiter *w, bool answer)
{
    list_remove(&w->node);
    if (answer)
        refuse(w->r);
    request_unref(w->r);
    free(w);
}

static void on_patience_over(void *arg)
{
    struct keywait *k = arg;

    LIST_EACH(node, next, &k->waiters) {
        struct waiter *w = LIST_ITEM(node, struct waiter, node);
        int64_t left = w->until_ms - clock_ms();
        if (left > 0) {
            timer_start(k->timer, left);
            return;
        }
        k->bridge->stats.jwks_wait_over++;
        let_go(w, true);
    }
}

struct keywait *keywait_new(struct bridge *b)
{
    struct keywait *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->bridge = b;
    list_init(&k->waiters);
    k->timer = timer_new(b->loop, on_patience_over, k);
    if (k->timer)
        return k;
    free(k);
    return NULL;
}

void keywait_close(struct keywait *k)
{
    struct list *node;

    if (!k)
        return;
    while ((node = list_next(&k->waiters)) != &k->waiters)
        let_go(LIST_ITEM(node, struct waiter, node), false);
    timer_free(k->timer);
    k->timer = NULL;
}

void keywait_free(struct keywait *k)
{
    free(k);
}

/* --- asking number 0 ------------------------------------------------------------------
 */

static void want_one(struct round_part *part)
{
    int64_t *wait_ms = part->answer;

    if (part->bridge->keyring)
        *wait_ms = keyring_want(part->bridge->keyring);
    round_answer(part);
}

/* It may not be asked now: nobody waits for what will not come. */
static void on_wanted(const struct round *round, void *arg)
{
    struct keywait *k = arg;
    const int64_t *wait_ms = round_said(round, 0);
    struct list *node;

    k->asking = false;
    if (!wait_ms || !*wait_ms)
        return; /* they come, or the wait ends */
    k->not_before_ms = clock_ms() + *wait_ms;
    while ((node = list_next(&k->waiters)) != &k->waiters) {
        k->bridge->stats.limit_jwks_asked++;
        let_go(LIST_ITEM(node, struct waiter, node), true);
    }
}

static void ask(struct keywait *k)
{
    static const struct round_kind want = {
        .answer_size = sizeof(int64_t), .each = want_one, .done = on_wanted};

    if (k->asking)
        return;
    k->asking = true;
    if (!round_ask(k->bridge, &want, NULL, k))
        k->asking = false;
}

void keywait_park(struct request *r)
{
    struct keywait *k = r->bridge->keywait;
    int64_t wait_ms = r->bridge->conf->jwks_wait_ms;
    struct waiter *w;

    if (clock_ms() < k->not_before_ms) {
        r->bridge->stats.limit_jwks_asked++;
        refuse(r);
        return;
    }
    w = r->keys == KEYS_UNASKED && wait_ms ? calloc(1, sizeof(*w)) : NULL;
    if (!w) {
        if (r->keys == KEYS_UNASKED)
            ask(k);
        refuse(r);
        return;
    }
    r->bridge->stats.jwks_waits++;
    w->r = request_ref(r);
    w->until_ms = clock_ms() + wait_ms;
    list_push(&k->waiters, &w->node);
    if (!timer_running(k->timer))
        timer_start(k->timer, wait_ms);
    ask(k);
}

void keywait_over(struct keywait *k, bool fresh)
{
    struct list all, *node;

    list_init(&all);
    while ((node = list_pop(&k->waiters)))
        list_push(&all, node); /* who waits anew is not among them */
    while ((node = list_pop(&all))) {
        struct waiter *w = LIST_ITEM(node, struct waiter, node);
        w->r->keys = fresh ? KEYS_FRESH : KEYS_FAILED;
        if (w->r->conn)
            w->r->again(w->r);
        request_unref(w->r);
        free(w);
    }
}
