/* route_health: is it alive, is it ready, its numbers. Needs no token; tells nothing
 * about anybody. */
#include "bridge/bridge.h"
#include "bridge/reader.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/pg.h"
#include "common/redis.h"

#include <stdlib.h>

void route_healthz(struct request *r)
{
    request_reply(r, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

void route_metrics(struct request *r)
{
    struct buf out;

    buf_init(&out);
    bridge_stats_render(r->bridge, &out);
    if (out.failed)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        request_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", out.data,
                      out.len);
    buf_fini(&out);
}

/* --- /readyz ------------------------------------------------------------------------ */

/* Both are asked at once; the last answer replies. */
struct ready {
    struct request *r; /* a reference */
    int waiting;
    bool redis, pg;
};

static void reply_ready(struct ready *a)
{
    struct bridge *b = a->r->bridge;
    bool ok = a->redis && (a->pg || !b->pg) && !b->draining;

    if (!ok)
        request_header(a->r, "Retry-After", "1");
    request_json(a->r, ok ? 200 : 503,
                 json_pack("{s:b, s:s, s:s, s:b}", "ready", ok, "redis",
                           a->redis ? "ok" : "down", "postgres",
                           !b->pg  ? "off"
                           : a->pg ? "ok"
                                   : "down",
                           "draining", b->draining));
    request_unref(a->r);
    free(a);
}

static void one_less(struct ready *a)
{
    if (--a->waiting == 0)
        reply_ready(a);
}

/* Under MISCONF Redis answers PING with an error, but it can be read. */
static void on_redis(struct redis *redis, const struct redis_reply *reply, void *arg)
{
    struct ready *a = arg;

    (void)redis;
    a->redis =
        reply && (reply->type != REDIS_FAILURE || redis_is_error(reply, "MISCONF") ||
                  redis_is_error(reply, "NOPERM"));
    one_less(a);
}

static void on_pg(enum pg_outcome outcome, const struct pg_result *res,
                  const struct pg_error *err, void *arg)
{
    struct ready *a = arg;

    (void)res;
    (void)err;
    a->pg = outcome == PG_OK;
    one_less(a);
}

void route_readyz(struct request *r)
{
    struct bridge *b = r->bridge;
    struct ready *a = calloc(1, sizeof *a);

    if (!a) {
        request_error(r, 503, "unavailable", "Out of memory, try again.");
        return;
    }
    *a = (struct ready){.r = request_ref(r), .waiting = 1};
    if (redis_sendv(reader_redis(b->reader), on_redis, a, "PING", NULL))
        a->waiting++;
    if (b->pg &&
        pg_pool_query(b->pg, "SELECT 1", 0, NULL, b->conf->upstream_timeout_ms, on_pg, a))
        a->waiting++;
    one_less(a);
}
