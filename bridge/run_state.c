/* run_state: XREVRANGE (the tail, first), HMGET r:<run> x:<run> v, then one look whether
 * the run's first entry is still there. */
#include "bridge/run_state.h"

#include "bridge/bridge.h"
#include "bridge/reader.h"
#include "bridge/state_word.h"
#include "common/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ask {
    struct reader *reader;
    struct redis *redis;
    run_state_fn *fn;
    void *arg;
    struct run_state state;
    bool failed;
    char log[NAMES_KEY_SIZE], key[NAMES_KEY_SIZE];
    char thread_id[THREAD_ID_MAX + 1];
    char live[UUID_SIZE + 2], ended[UUID_SIZE + 2]; /* fields of the state */
};

static void answer(struct ask *a)
{
    a->state.ok = !a->failed;
    a->fn(&a->state, a->arg);
    free(a);
}

static void on_first(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    a->failed |= !reply || reply->type != REDIS_ARRAY;
    a->state.held = !a->failed && reply->count == 1;
    answer(a);
}

static void ask_first(struct ask *a)
{
    char began[EVENT_ID_SIZE];
    event_id_format(&a->state.began, began);
    if (!redis_sendv(a->redis, on_first, a, "XRANGE", a->log, began, began, "COUNT", "1",
                     NULL)) {
        a->failed = true;
        answer(a);
    }
}

static void on_fields(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    struct run_state *s = &a->state;
    if (!reply || reply->type != REDIS_ARRAY || reply->count != 3 ||
        !reader_knows(a->reader, a->thread_id, reply->items[2])) {
        a->failed = true;
    } else {
        const struct redis_reply *live = reply->items[0], *ended = reply->items[1];
        s->live = live->type == REDIS_STRING &&
                  state_word_id(live->str, live->len, 2, &s->began);
        if (ended->type == REDIS_STRING)
            s->ended = state_word_id(ended->str, ended->len, 1, &s->began) &&
                       state_word_id(ended->str, ended->len, 2, &s->end);
    }
    if (!a->failed && s->ended)
        ask_first(a);
    else
        answer(a);
}

static void on_tail(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    if (!reply || reply->type != REDIS_ARRAY)
        a->failed = true;
    else if (reply->count && reply->items[0]->count == 2)
        event_id_parse(reply->items[0]->items[0]->str, reply->items[0]->items[0]->len,
                       &a->state.tail);
    if (a->failed || !redis_sendv(a->redis, on_fields, a, "HMGET", a->key, a->live,
                                  a->ended, "v", NULL)) {
        a->failed = true;
        answer(a);
    }
}

void run_state_ask(struct reader *r, const char *thread_id, const char *run_id,
                   run_state_fn *fn, void *arg)
{
    const char *prefix = reader_bridge(r)->conf->redis_prefix;
    struct ask *a = calloc(1, sizeof(*a));
    if (!a) {
        fn(&(struct run_state){.ok = false}, arg);
        return;
    }
    *a = (struct ask){.reader = r, .redis = reader_redis(r), .fn = fn, .arg = arg};
    snprintf(a->thread_id, sizeof(a->thread_id), "%s", thread_id);
    names_log(a->log, prefix, thread_id);
    names_state(a->key, prefix, thread_id);
    snprintf(a->live, sizeof(a->live), "r:%s", run_id);
    snprintf(a->ended, sizeof(a->ended), "x:%s", run_id);
    if (!redis_sendv(a->redis, on_tail, a, "XREVRANGE", a->log, "+", "-", "COUNT", "1",
                     NULL)) {
        a->failed = true;
        answer(a);
    }
}
