/* store: no statement here is built from strings, and none waits without a deadline. */
#include "worker/store.h"

#include "worker/conf.h"
#include "worker/worker.h"

#include <stdio.h>

enum {
    DEADLINE_MS = 5000,
    FINISH_DEADLINE_MS = 10000,
    HISTORY_MESSAGES = 100,
    HISTORY_BYTES = 256 * 1024,
};

struct decimal {
    char text[24];
};

static const char *decimal(struct decimal *d, int64_t value)
{
    snprintf(d->text, sizeof(d->text), "%lld", (long long)value);
    return d->text;
}

void store_runs_init(struct store_runs *r)
{
    buf_init(&r->ids);
    buf_init(&r->attempts);
    buf_char(&r->ids, '{');
    buf_char(&r->attempts, '{');
    r->count = 0;
}

void store_runs_add(struct store_runs *r, const char *run_id, int64_t attempt)
{
    const char *comma = r->count++ ? "," : "";

    buf_printf(&r->ids, "%s%s", comma, run_id);
    buf_printf(&r->attempts, "%s%lld", comma, (long long)attempt);
}

void store_runs_fini(struct store_runs *r)
{
    buf_fini(&r->ids);
    buf_fini(&r->attempts);
}

static bool close_lists(struct store_runs *r)
{
    buf_char(&r->ids, '}');
    buf_char(&r->attempts, '}');
    return !r->ids.failed && !r->attempts.failed;
}

bool store_claim(struct worker *w, size_t n, bool expired, pg_fn *fn, void *arg)
{
    struct decimal d[3];
    const char *params[] = {
        w->instance, decimal(&d[0], (int64_t)n), decimal(&d[1], w->conf->lease_ms),
        decimal(&d[2], w->conf->max_attempts), expired ? "true" : "false"};

    return pg_pool_query(w->pool,
                         "SELECT * FROM threadcast.claim_runs($1, $2, $3, $4, $5)", 5,
                         params, DEADLINE_MS, fn, arg);
}

bool store_next_claim(struct worker *w, pg_fn *fn, void *arg)
{
    const char *params[] = {w->instance};

    return pg_pool_query(w->pool, "SELECT threadcast.next_claim_ms($1)", 1, params,
                         DEADLINE_MS, fn, arg);
}

bool store_renew(struct worker *w, struct store_runs *r, pg_fn *fn, void *arg)
{
    struct decimal d;
    const char *params[] = {w->instance, NULL, NULL, decimal(&d, w->conf->lease_ms)};

    if (!close_lists(r))
        return false;
    params[1] = r->ids.data;
    params[2] = r->attempts.data;
    return pg_pool_query(w->pool, "SELECT * FROM threadcast.renew_runs($1, $2, $3, $4)",
                         4, params, DEADLINE_MS, fn, arg);
}

bool store_hand_back(struct worker *w, struct store_runs *r, pg_fn *fn, void *arg)
{
    const char *params[] = {w->instance, NULL, NULL};

    if (!close_lists(r))
        return false;
    params[1] = r->ids.data;
    params[2] = r->attempts.data;
    return pg_pool_query(w->pool, "SELECT threadcast.hand_back($1, $2, $3)", 3, params,
                         DEADLINE_MS, fn, arg);
}

bool store_hand_back_others(struct worker *w, struct store_runs *r, pg_fn *fn, void *arg)
{
    const char *params[] = {w->instance, NULL};

    if (!close_lists(r))
        return false;
    params[1] = r->ids.data;
    return pg_pool_query(w->pool, "SELECT threadcast.hand_back_others($1, $2)", 2, params,
                         DEADLINE_MS, fn, arg);
}

bool store_finish(struct worker *w, const struct store_finish *f, pg_fn *fn, void *arg)
{
    struct decimal d[2];
    const char *params[] = {f->run_id,   decimal(&d[0], f->attempt),
                            f->status,   f->content,
                            f->metadata, f->author,
                            f->events,   decimal(&d[1], f->seq),
                            f->error,    f->usage,
                            f->stats};

    return pg_pool_query(
        w->pool,
        "SELECT * FROM threadcast.finish_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
        "$11)",
        11, params, FINISH_DEADLINE_MS, fn, arg);
}

bool store_requeue(struct worker *w, const char *run_id, int64_t attempt, pg_fn *fn,
                   void *arg)
{
    struct decimal d[4];
    const char *params[] = {
        run_id, decimal(&d[0], attempt), decimal(&d[1], w->conf->retry_ms),
        decimal(&d[2], w->conf->retry_max_ms), decimal(&d[3], w->conf->max_attempts)};

    return pg_pool_query(w->pool,
                         "SELECT * FROM threadcast.requeue_run($1, $2, $3, $4, $5)", 5,
                         params, DEADLINE_MS, fn, arg);
}

bool store_say_queued(struct worker *w, size_t n, int64_t after_ms, pg_fn *fn, void *arg)
{
    struct decimal d[2];
    const char *params[] = {decimal(&d[0], (int64_t)n), decimal(&d[1], after_ms)};

    return pg_pool_query(w->pool, "SELECT * FROM threadcast.say_queued($1, $2)", 2,
                         params, DEADLINE_MS, fn, arg);
}

/* Twice what is between two of these: one may be lost. */
bool store_register_worker(struct worker *w, const char *standard, const char *agents,
                           pg_fn *fn, void *arg)
{
    struct decimal d;
    const char *params[] = {w->instance, standard, agents,
                            decimal(&d, 2 * w->conf->lease_ms)};

    return pg_pool_query(w->pool,
                         "SELECT threadcast.register_worker($1, $2, $3::jsonb, $4)", 4,
                         params, DEADLINE_MS, fn, arg);
}

bool store_forget_worker(struct worker *w, pg_fn *fn, void *arg)
{
    const char *params[] = {w->instance};

    return pg_pool_query(w->pool, "SELECT threadcast.forget_worker($1)", 1, params,
                         DEADLINE_MS, fn, arg);
}

bool store_prune(struct worker *w, size_t n, pg_fn *fn, void *arg)
{
    static const char sql[] =
        "SELECT threadcast.release_forgotten($1::int), "
        "threadcast.prune_idempotency($1::int),"
        " CASE WHEN $2::int > 0 THEN threadcast.prune_runs($2::int, $1::int) ELSE 0 END,"
        " CASE WHEN $3::int > 0 THEN threadcast.prune_messages($3::int, $1::int) ELSE 0 "
        "END";
    struct decimal d[3];
    const char *params[] = {decimal(&d[0], (int64_t)n),
                            decimal(&d[1], w->conf->runs_retention_days),
                            decimal(&d[2], w->conf->messages_retention_days)};

    return pg_pool_query(w->pool, sql, 3, params, FINISH_DEADLINE_MS, fn, arg);
}

bool store_recall_ends(struct worker *w, const char *redis, pg_fn *fn, void *arg)
{
    const struct worker_conf *conf = w->conf;
    int64_t window_s =
        conf->recall_s < conf->history_ttl_s ? conf->recall_s : conf->history_ttl_s;
    struct decimal d;
    const char *params[] = {redis, decimal(&d, window_s)};

    return pg_pool_query(w->pool, "SELECT threadcast.recall_ends($1, $2)", 2, params,
                         DEADLINE_MS, fn, arg);
}

bool store_ends(struct worker *w, size_t n, pg_fn *fn, void *arg)
{
    struct decimal d;
    const char *params[] = {decimal(&d, (int64_t)n)};

    return pg_pool_query(w->pool, "SELECT * FROM threadcast.unpublished_ends($1)", 1,
                         params, DEADLINE_MS, fn, arg);
}

bool store_mark(struct worker *w, const char *run_id, pg_fn *fn, void *arg)
{
    const char *params[] = {run_id};

    return pg_pool_query(w->pool, "SELECT threadcast.mark_end_published(ARRAY[$1::uuid])",
                         1, params, DEADLINE_MS, fn, arg);
}

bool store_history(struct worker *w, const char *thread_id, const char *message_id,
                   pg_fn *fn, void *arg)
{
    struct decimal d[2];
    const char *params[] = {thread_id, message_id, decimal(&d[0], HISTORY_MESSAGES),
                            decimal(&d[1], HISTORY_BYTES)};

    return pg_pool_query(w->pool, "SELECT threadcast.thread_history($1, $2, $3, $4)", 4,
                         params, DEADLINE_MS, fn, arg);
}
