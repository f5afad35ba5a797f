/* route_health: is it alive, is it ready, its numbers: of the whole process, whichever
 * reactor is asked. Needs no token; tells nothing about anybody. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/feed.h"
#include "bridge/metrics.h"
#include "bridge/owners.h"
#include "bridge/publisher.h"
#include "bridge/reactors.h"
#include "bridge/reader.h"
#include "bridge/request.h"
#include "bridge/revoked.h"
#include "bridge/round.h"
#include "bridge/routes.h"
#include "common/pg.h"
#include "common/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN "text/plain; charset=utf-8"

/* A loop that hangs cannot answer for itself, but the others see that its heart stands.
 */
void route_healthz(struct request *r)
{
    int hanging = reactors_hanging(r->bridge->reactors);
    char text[64];

    if (hanging < 0) {
        request_reply(r, 200, PLAIN, "ok\n", 3);
        return;
    }
    snprintf(text, sizeof text, "reactor %d hangs\n", hanging);
    request_reply(r, 503, PLAIN, text, strlen(text));
}

/* Nobody was asked: there is no memory. */
static void unavailable(struct request *r)
{
    request_error(r, 503, "unavailable", "Out of memory, try again.");
}

/* --- /metrics ----------------------------------------------------------------------- */

static void report_one(struct round_part *part)
{
    report_fill(part->answer, part->bridge);
    round_answer(part);
}

/* Of one that did not answer, what it said last: counters must not go back. */
static void merge_reports(struct reactors *rs, const struct round *round,
                          struct report *all)
{
    pthread_mutex_lock(&rs->lock);
    for (size_t i = 0; i < rs->count; i++) {
        const struct report *said = round_said(round, i);
        if (said)
            rs->reports[i] = *said;
        all[i] = rs->reports[i];
    }
    pthread_mutex_unlock(&rs->lock);
}

static void on_reports(const struct round *round, void *arg)
{
    struct request *r = arg;
    struct reactors *rs = r->bridge->reactors;
    struct report *all = calloc(rs->count, sizeof *all);
    struct buf out;

    buf_init(&out);
    if (all) {
        merge_reports(rs, round, all);
        metrics_render(rs, all, &out);
    }
    if (!all || out.failed)
        unavailable(r);
    else
        request_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", out.data,
                      out.len);
    buf_fini(&out);
    free(all);
    request_unref(r);
}

void route_metrics(struct request *r)
{
    static const struct round_kind kind = {.answer_size = sizeof(struct report),
                                           .bounded = true,
                                           .each = report_one,
                                           .done = on_reports};

    if (round_ask(r->bridge, &kind, NULL, request_ref(r)))
        return;
    unavailable(r);
    request_unref(r);
}

/* --- /readyz ------------------------------------------------------------------------ */

/* What one reactor finds: both are asked at once; the last answer is its answer. */
struct ready {
    int waiting;
    bool redis, pg, listen, keys;
};

static void one_less(struct round_part *part)
{
    struct ready *a = part->answer;

    if (--a->waiting == 0)
        round_answer(part);
}

/* Under MISCONF Redis answers PING with an error, but it can be read. */
static void on_redis(struct redis *redis, const struct redis_reply *reply, void *arg)
{
    struct round_part *part = arg;
    struct ready *a = part->answer;

    (void)redis;
    a->redis =
        reply && (reply->type != REDIS_FAILURE || redis_is_error(reply, "MISCONF") ||
                  redis_is_error(reply, "NOPERM"));
    one_less(part);
}

static void on_pg(enum pg_outcome outcome, const struct pg_result *res,
                  const struct pg_error *err, void *arg)
{
    struct round_part *part = arg;
    struct ready *a = part->answer;

    (void)res;
    (void)err;
    a->pg = outcome == PG_OK;
    one_less(part);
}

static void ready_one(struct round_part *part)
{
    struct bridge *b = part->bridge;
    struct ready *a = part->answer;

    a->keys = auth_ready(b->auth);
    /* deaf, its streams would outlive the right to them */
    a->listen = !b->owners || owners_listening(b->owners);
    a->waiting = 1; /* ours, so that an early answer does not end it */
    if ((!b->revoked || revoked_known(b->revoked)) && feed_ready(b->feed) &&
        publisher_ready(b->publisher) && reader_redis(b->reader) &&
        redis_sendv(reader_redis(b->reader), on_redis, part, "PING", NULL))
        a->waiting++;
    if (b->pg && pg_pool_query(b->pg, "SELECT 1", 0, NULL, b->conf->upstream_timeout_ms,
                               on_pg, part))
        a->waiting++;
    one_less(part);
}

static const char *state_word(bool there, bool ok)
{
    return !there ? "off" : ok ? "ok" : "down";
}

static void on_ready(const struct round *round, void *arg)
{
    struct request *r = arg;
    struct bridge *b = r->bridge;
    bool redis = true, pg = true, listen = true, keys = true;
    bool with_pg = b->conf->database_url != NULL;

    for (size_t i = 0; i < round_size(round); i++) {
        const struct ready *a = round_said(round, i);
        redis &= a && a->redis;
        pg &= a && a->pg;
        listen &= a && a->listen;
        keys &= a && a->keys;
    }
    bool ok = redis && ((pg && listen) || !with_pg) && keys && !b->draining;
    if (!ok)
        request_header(r, "Retry-After", "1");
    request_json(r, ok ? 200 : 503,
                 json_pack("{s:b, s:s, s:s, s:s, s:s, s:b}", "ready", ok, "redis",
                           state_word(true, redis), "postgres", state_word(with_pg, pg),
                           "listen", state_word(with_pg, listen), "keys",
                           state_word(b->conf->jwt_jwks_url != NULL, keys), "draining",
                           b->draining));
    request_unref(r);
}

void route_readyz(struct request *r)
{
    static const struct round_kind kind = {.answer_size = sizeof(struct ready),
                                           .bounded = true,
                                           .each = ready_one,
                                           .done = on_ready};

    if (round_ask(r->bridge, &kind, NULL, request_ref(r)))
        return;
    unavailable(r);
    request_unref(r);
}
