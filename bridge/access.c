/* access: grants at once, ownership from Postgres. Equal questions that wait at the same
 * time share one query: when a thousand readers of a thread come back together, Postgres
 * is asked once. Answers are not kept. What Postgres did not clearly say is never a yes.
 */
#include "bridge/access.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/strmap.h"

#include <stdlib.h>
#include <string.h>

struct waiter {
    struct list node;
    access_fn *fn;
    void *arg;
};

struct question {
    struct bridge *bridge;
    struct list waiters;
    int64_t until_ms; /* monotonic */
    bool stale;       /* something changed since it was asked */
    size_t key_len;
    const char *thread_id; /* inside key */
    char key[];            /* sub NUL thread NUL: also the texts for the query */
};

static void deliver(struct bridge *b, enum access_result result, access_fn *fn, void *arg)
{
    if (result == ACCESS_DENIED)
        b->stats.access_denied++;
    fn(result, arg);
}

/* The last one takes the map along, so that nothing is left to free at the end. */
static void question_forget(struct question *q)
{
    struct bridge *b = q->bridge;

    strmap_remove(b->questions, q->key, q->key_len);
    if (strmap_count(b->questions) == 0) {
        strmap_free(b->questions);
        b->questions = NULL;
    }
}

/* Forgotten first: a waiter may ask again, and must not join what has been answered. */
static void question_answer(struct question *q, enum access_result result)
{
    struct list *node;

    question_forget(q);
    while ((node = list_pop(&q->waiters))) {
        struct waiter *w = LIST_ITEM(node, struct waiter, node);
        deliver(q->bridge, result, w->fn, w->arg);
        free(w);
    }
    free(q);
}

static bool question_ask(struct question *q);

static void on_answer(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct question *q = arg;
    bool owner = outcome == PG_OK && pg_rows(res) == 1 && pg_value(res, 0, 0) &&
                 pg_bool(res, 0, 0);

    if (outcome != PG_OK) {
        q->bridge->stats.pg_errors++;
        log_debug("ownership unknown", LOG_S("thread", q->thread_id),
                  LOG_S("why", err ? err->message : "no connection"));
        question_answer(q, ACCESS_UNKNOWN);
    } else if (!q->stale) {
        question_answer(q, owner ? ACCESS_OWNER : ACCESS_DENIED);
    } else if (!question_ask(q)) {
        question_answer(q, ACCESS_UNKNOWN);
    }
}

static bool question_ask(struct question *q)
{
    const char *const params[] = {q->thread_id, q->key};
    int64_t left_ms = q->until_ms - clock_ms();

    q->stale = false;
    return left_ms > 0 &&
           pg_pool_query(q->bridge->pg,
                         "SELECT owner = $2 FROM threadcast.threads WHERE id = $1", 2,
                         params, left_ms, on_answer, q);
}

static struct question *question_new(struct bridge *b, const char *key, size_t key_len)
{
    struct question *q = calloc(1, sizeof(*q) + key_len);

    if (!q)
        return NULL;
    q->bridge = b;
    q->until_ms = clock_ms() + b->conf->upstream_timeout_ms;
    q->key_len = key_len;
    memcpy(q->key, key, key_len);
    q->thread_id = q->key + strlen(q->key) + 1;
    list_init(&q->waiters);
    if (!strmap_set(b->questions, q->key, key_len, q)) {
        free(q);
        return NULL;
    }
    if (!question_ask(q)) {
        strmap_remove(b->questions, q->key, key_len);
        free(q);
        return NULL;
    }
    return q;
}

/* Joins the question that is being asked, or asks it. false: it cannot be asked. */
static bool ask_owner(struct bridge *b, const char *sub, const char *thread_id,
                      access_fn *fn, void *arg)
{
    char key[SUB_MAX + 1 + THREAD_ID_MAX + 1];
    size_t sub_size = strlen(sub) + 1, id_size = strlen(thread_id) + 1;
    struct waiter *w = calloc(1, sizeof(*w));
    struct question *q;

    if (!w || sub_size + id_size > sizeof(key))
        goto fail;
    memcpy(key, sub, sub_size);
    memcpy(key + sub_size, thread_id, id_size);
    if (!b->questions)
        b->questions = strmap_new_borrowing();
    if (!b->questions)
        goto fail;
    q = strmap_get(b->questions, key, sub_size + id_size);
    if (!q)
        q = question_new(b, key, sub_size + id_size);
    if (!q)
        goto fail_map;
    w->fn = fn;
    w->arg = arg;
    list_push(&q->waiters, &w->node);
    return true;

fail_map:
    if (strmap_count(b->questions) == 0) {
        strmap_free(b->questions);
        b->questions = NULL;
    }
fail:
    free(w);
    return false;
}

/* What needs no database. false: its owner must be asked for. */
static bool known_at_once(const struct bridge *b, const struct identity *id,
                          const char *thread_id, enum access_kind kind,
                          enum access_result *ret)
{
    bool granted = id->everything;

    *ret = ACCESS_DENIED;
    if (!thread_id_valid(thread_id, strlen(thread_id)))
        return true;
    if (kind == ACCESS_READ)
        granted = granted || identity_reads(id, thread_id);
    else if (kind == ACCESS_PUBLISH)
        granted = granted || identity_writes(id, thread_id);
    if (granted)
        *ret = ACCESS_GRANTED;
    return granted || kind == ACCESS_PUBLISH || (id->ticket && kind != ACCESS_READ) ||
           !identity_may_own(id, thread_id) || !b->pg;
}

void access_check(struct bridge *b, struct identity *id, const char *thread_id,
                  enum access_kind kind, access_fn *fn, void *arg)
{
    enum access_result result;

    if (known_at_once(b, id, thread_id, kind, &result))
        deliver(b, result, fn, arg);
    else if (!ask_owner(b, id->sub, thread_id, fn, arg))
        deliver(b, ACCESS_UNKNOWN, fn, arg);
}

void access_changed(struct bridge *b, const char *thread_id)
{
    size_t pos = 0;
    struct question *q;

    b->owner_changes++;
    while (b->questions && (q = strmap_next(b->questions, &pos, NULL)))
        if (!thread_id || !strcmp(q->thread_id, thread_id))
            q->stale = true;
}
