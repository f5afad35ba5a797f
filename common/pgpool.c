/* n connections to one database. A statement goes to a ready one with the shortest queue
 * and stays there. */
#include "common/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg_pool {
    struct pg **connections;
    int count;
    bool up;        /* what was told last, */
    char told[400]; /* and why not */
    void (*on_change)(bool ready, const char *why, void *arg);
    void *change_arg;
};

static void on_ready(struct pg *p, void *arg)
{
    struct pg_pool *pool = arg;

    (void)p;
    if (pool->up)
        return;
    pool->up = true;
    pool->told[0] = '\0';
    if (pool->on_change)
        pool->on_change(true, NULL, pool->change_arg);
}

static int count_ready(const struct pg_pool *pool)
{
    int n = 0;

    for (int i = 0; i < pool->count; i++)
        n += pool->connections[i] && pg_state(pool->connections[i]) == PG_READY;
    return n;
}

static void on_down(struct pg *p, const char *why, void *arg)
{
    struct pg_pool *pool = arg;

    (void)p;
    if (count_ready(pool) > 0 ||
        (!pool->up && strncmp(pool->told, why, sizeof(pool->told) - 1) == 0))
        return;
    pool->up = false;
    snprintf(pool->told, sizeof(pool->told), "%s", why);
    if (pool->on_change)
        pool->on_change(false, why, pool->change_arg);
}

struct pg_pool *pg_pool_new(struct loop *l, const struct pg_options *o, int n)
{
    const struct pg_events events = {.on_ready = on_ready, .on_down = on_down};
    struct pg_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pool->connections = calloc((size_t)n, sizeof(struct pg *));
    if (!pool->connections)
        goto fail;
    for (; pool->count < n; pool->count++) {
        pool->connections[pool->count] = pg_new(l, o, &events, pool);
        if (!pool->connections[pool->count])
            goto fail;
    }
    return pool;
fail:
    pg_pool_free(pool);
    return NULL;
}

void pg_pool_free(struct pg_pool *pool)
{
    if (!pool)
        return;
    pool->on_change = NULL;
    for (int i = 0; i < pool->count; i++) {
        struct pg *p = pool->connections[i];
        pool->connections[i] = NULL;
        pg_free(p);
    }
    free(pool->connections);
    free(pool);
}

/* The shortest queue, among the ready ones when there is one. */
static struct pg *pick(const struct pg_pool *pool)
{
    struct pg *best = NULL;

    for (int i = 0; i < pool->count; i++) {
        struct pg *p = pool->connections[i];
        bool ready = p && pg_state(p) == PG_READY;
        bool best_ready = best && pg_state(best) == PG_READY;
        if (p && (!best || ready > best_ready ||
                  (ready == best_ready && pg_queued(p) < pg_queued(best))))
            best = p;
    }
    return best;
}

bool pg_pool_query(struct pg_pool *pool, const char *sql, int nparams,
                   const char *const *params, int64_t deadline_ms, pg_fn *fn, void *arg)
{
    struct pg *p = pick(pool);

    return p && pg_query(p, sql, nparams, params, deadline_ms, fn, arg);
}

bool pg_pool_ready(const struct pg_pool *pool)
{
    return count_ready(pool) > 0;
}

void pg_pool_on_change(struct pg_pool *pool,
                       void (*fn)(bool ready, const char *why, void *arg), void *arg)
{
    pool->on_change = fn;
    pool->change_arg = arg;
}

void pg_pool_counters(const struct pg_pool *pool, struct pg_counters *ret_sum)
{
    *ret_sum = (struct pg_counters){0};
    for (int i = 0; i < pool->count; i++) {
        const struct pg_counters *c = pg_counters(pool->connections[i]);
        ret_sum->ready += c->ready;
        ret_sum->failed += c->failed;
        ret_sum->lost += c->lost;
        ret_sum->statements += c->statements;
        ret_sum->expired += c->expired;
        ret_sum->refused += c->refused;
    }
}
