/* forgotten: SELECT ends_forgotten(…) (db/0003_forgotten.sql) and what its answer says. A
 * topic is asked about once a subscription, and again while one of its runs is said to
 * have had its end published: that may be too fresh to tell yet.
 */
#include "bridge/forgotten.h"

#include "bridge/bridge.h"
#include "bridge/hub.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/strmap.h"

#include <stdlib.h>
#include <string.h>

struct question {
    struct bridge *bridge;
    uint32_t generation;
    char thread_id[THREAD_ID_MAX + 1];
};

static void on_answer(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct question *q = arg;
    struct bridge *b = q->bridge;
    (void)err;
    if (outcome == PG_OK) {
        struct topic *t = strmap_get(b->hub->topics, q->thread_id, strlen(q->thread_id));
        int64_t n = pg_int(res, 0, 0);
        if (t && !pg_bool(res, 0, 1))
            t->recorded = q->generation;
        b->stats.ends_forgotten += (uint64_t)n;
        if (n)
            log_warn("redis has forgotten ends that were published",
                     LOG_S("thread", q->thread_id), LOG_I("runs", n));
    } else {
        b->stats.pg_errors++; /* asked again with the next round */
    }
    free(q);
}

/* As Postgres writes an array; false: none of them can have a row. */
static bool array_of(struct buf *out, const struct live_run *runs, size_t count)
{
    buf_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(runs[i].run_id);
        if (!uuid_valid(runs[i].run_id, len))
            continue;
        if (out->len > 1)
            buf_char(out, ',');
        buf_add(out, runs[i].run_id, len);
    }
    buf_char(out, '}');
    return !out->failed && out->len > 2;
}

void forgotten_ask(struct topic *t, const struct live_run *runs, size_t count)
{
    static const char sql[] =
        "SELECT threadcast.ends_forgotten($1::uuid[]), EXISTS (SELECT FROM "
        "threadcast.runs"
        " WHERE id = ANY ($1::uuid[]) AND end_published_at IS NOT NULL)";
    struct bridge *b = t->hub->bridge;
    struct question *q;
    struct buf ids;
    if (!b->pg || t->recorded == t->generation)
        return;
    buf_init(&ids);
    q = array_of(&ids, runs, count) ? calloc(1, sizeof(*q)) : NULL;
    if (q) {
        const char *const params[] = {ids.data};
        *q = (struct question){.bridge = b, .generation = t->generation};
        memcpy(q->thread_id, t->thread_id, strlen(t->thread_id) + 1);
        if (!pg_pool_query(b->pg, sql, 1, params, b->conf->upstream_timeout_ms, on_answer,
                           q))
            free(q);
    }
    buf_fini(&ids);
}
