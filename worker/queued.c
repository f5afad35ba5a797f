/* queued: Postgres marks a run as told and names it, then an event from outside is
 * published in its name. The script refuses that (TAKEN) as soon as the run has begun,
 * so it always stands before `started`, and no fence, number or attempt is touched. What
 * gets lost on the way is not said again: it is a courtesy. */
#include "worker/queued.h"

#include "common/clock.h"
#include "common/event.h"
#include "common/list.h"
#include "common/names.h"
#include "common/pg.h"
#include "worker/intake.h"
#include "worker/pending.h"
#include "worker/publisher.h"
#include "worker/store.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, AFTER_MS = 300 };
#define THREAD "{\"status\":\"queued\",\"reason\":\"thread\"}"
#define WORKERS "{\"status\":\"queued\",\"reason\":\"workers\"}"

struct queued {
    struct worker *w;
    struct list notices;
    bool asking;
};

/* One event on its way. */
struct notice {
    struct list node;
    struct queued *q;
    char run_id[UUID_SIZE], thread_id[THREAD_ID_MAX + 1];
    struct publish_call *call;
};

static void notice_free(struct notice *n)
{
    if (n->call)
        publish_cancel(n->call);
    list_remove(&n->node);
    free(n);
}

static void on_answer(const struct publish_answer *a, void *arg)
{
    struct notice *n = arg;

    n->call = NULL;
    if (a->result == PUBLISH_OK)
        n->q->w->stats.queued_said++;
    notice_free(n);
}

static void publish(struct notice *n, const struct pg_result *res, int row)
{
    struct publishers *ps = n->q->w->publishers;
    const char *why = pg_bool(res, row, QUEUED_WAITS) ? THREAD : WORKERS;
    const struct event_run names = {.thread_id = n->thread_id,
                                    .run_id = n->run_id,
                                    .agent_id = pg_value(res, row, QUEUED_AGENT),
                                    .message_id = pg_value(res, row, QUEUED_REPLY),
                                    .attempt = 1};
    const struct publish_order order = {
        .mode = PUBLISH_OUTSIDE, .thread_id = n->thread_id, .run_id = n->run_id};
    struct pending p;
    struct batch batch = {0};

    pending_init(&p);
    pending_json(&p, EVENT_STATUS, why, strlen(why), clock_wall_ms());
    if (!p.failed && pending_take(&p, &names, SIZE_MAX, &batch))
        n->call = publish_start(ps, publishers_lane(ps), &order, &batch, on_answer, n);
    pending_clear(&p);
    batch_fini(&batch);
}

static void tell(struct queued *q, const struct pg_result *res, int row)
{
    struct notice *n = calloc(1, sizeof(*n));

    if (!n)
        return;
    n->q = q;
    list_init(&n->node);
    list_push(&q->notices, &n->node);
    snprintf(n->run_id, sizeof(n->run_id), "%s", pg_value(res, row, QUEUED_RUN));
    snprintf(n->thread_id, sizeof(n->thread_id), "%s", pg_value(res, row, QUEUED_THREAD));
    publish(n, res, row);
    if (!n->call)
        notice_free(n);
}

static void on_rows(enum pg_outcome outcome, const struct pg_result *res,
                    const struct pg_error *err, void *arg)
{
    struct queued *q = arg;
    bool claimable = false;

    (void)err;
    q->asking = false;
    if (outcome != PG_OK)
        return;
    for (int i = 0; i < pg_rows(res); i++) {
        claimable |= !pg_bool(res, i, QUEUED_WAITS);
        tell(q, res, i);
    }
    if (claimable) /* a claim at that moment has passed over it */
        intake_claim(q->w->intake);
}

struct queued *queued_new(struct worker *w)
{
    struct queued *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->w = w;
    list_init(&q->notices);
    return q;
}

void queued_free(struct queued *q)
{
    if (!q)
        return;
    LIST_EACH(node, tmp, &q->notices)
        notice_free(LIST_ITEM(node, struct notice, node));
    free(q);
}

void queued_look(struct queued *q)
{
    if (!q->asking && publishers_ready(q->w->publishers))
        q->asking = store_say_queued(q->w, BATCH, AFTER_MS, on_rows, q);
}
