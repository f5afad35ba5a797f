/* live: HGETALL {thread:<id>}:state, then one EXISTS for each live run's worker. Only
 * threads that have gone quiet are asked about (watch.c). */
#include "bridge/live.h"

#include "bridge/bridge.h"
#include "bridge/reader.h"
#include "common/redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct question {
    struct reader *reader;
    live_fn *fn;
    void *arg;
    struct live_run runs[LIVE_RUNS_MAX];
    size_t count, answered;
    bool failed;
    char thread_id[THREAD_ID_MAX + 1];
};

static void answer(struct question *q)
{
    q->fn(q->failed ? NULL : q->runs, q->count, q->arg);
    free(q);
}

static void on_exists(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct question *q = arg;
    struct live_run *run = &q->runs[q->answered++]; /* replies come in order */
    if (!reply || reply->type != REDIS_INTEGER)
        q->failed = true;
    else
        run->silent = reply->integer == 0;
    if (q->answered == q->count)
        answer(q);
}

static void ask_workers(struct question *q)
{
    size_t count = q->count;
    const char *prefix = reader_bridge(q->reader)->conf->redis_prefix;
    for (size_t i = 0; i < count; i++) {
        char key[NAMES_PREFIX_MAX + LIVE_NAME_MAX + 32];
        snprintf(key, sizeof(key), "%sthreadcast:worker:%s", prefix, q->runs[i].worker);
        if (redis_sendv(reader_redis(q->reader), on_exists, q, "EXISTS", key, NULL))
            continue;
        q->failed = true;
        q->count = i; /* wait for those that were sent */
        if (!i)
            answer(q);
        return;
    }
}

/* r:<run> = "<attempt> <next> <began> <worker>" */
static bool read_run(const struct redis_reply *field, const struct redis_reply *value,
                     struct live_run *ret)
{
    char text[LIVE_NAME_MAX + 128];
    int at = 0;
    if (field->len < 3 || memcmp(field->str, "r:", 2) != 0 ||
        field->len - 2 > LIVE_NAME_MAX || value->len >= sizeof(text))
        return false;
    memcpy(ret->run_id, field->str + 2, field->len - 2);
    ret->run_id[field->len - 2] = '\0';
    memcpy(text, value->str, value->len);
    text[value->len] = '\0';
    if (sscanf(text, "%" SCNd64 " %" SCNd64 " %*s %n", &ret->attempt, &ret->next, &at) <
            2 ||
        !at || strlen(text + at) > LIVE_NAME_MAX)
        return false;
    memcpy(ret->worker, text + at, strlen(text + at) + 1);
    ret->silent = false;
    return true;
}

static void on_state(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct question *q = arg;
    q->failed = !reply || reply->type != REDIS_ARRAY ||
                !reader_knows_state(q->reader, q->thread_id, reply);
    for (size_t i = 0; !q->failed && i + 1 < reply->count; i += 2)
        if (q->count < LIVE_RUNS_MAX &&
            read_run(reply->items[i], reply->items[i + 1], &q->runs[q->count]))
            q->count++;
    if (q->failed || !q->count)
        answer(q);
    else
        ask_workers(q);
}

void live_ask(struct reader *r, const char *thread_id, live_fn *fn, void *arg)
{
    char state[NAMES_KEY_SIZE];
    struct question *q = calloc(1, sizeof(*q));
    names_state(state, reader_bridge(r)->conf->redis_prefix, thread_id);
    if (q)
        *q = (struct question){.reader = r, .fn = fn, .arg = arg};
    if (q)
        snprintf(q->thread_id, sizeof(q->thread_id), "%s", thread_id);
    if (q && redis_sendv(reader_redis(r), on_state, q, "HGETALL", state, NULL))
        return;
    free(q);
    fn(NULL, 0, arg);
}
