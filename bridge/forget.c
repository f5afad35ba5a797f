/* forget: see forget.h. Its readers are told, whatever let them in. Called for every
 * change of a thread; only a definite "there is no such row" deletes. Somebody who takes
 * the id meanwhile is refused, because its log is still there. */
#include "bridge/forget.h"

#include "bridge/bridge.h"
#include "bridge/hub.h"
#include "bridge/publisher.h"
#include "bridge/round.h"
#include "common/list.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"

#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 10000
#define AGAIN_MS 1000
#define WAITING_MAX 1000 /* threads remembered while Redis or Postgres is away */

struct question {
    struct list node; /* in b->forgetting */
    struct bridge *b;
    struct timer *again;
    bool asked; /* Postgres has it */
    char thread_id[THREAD_ID_MAX + 1];
};

static void question_free(struct question *q)
{
    list_remove(&q->node);
    q->b->forgetting_count--;
    timer_free(q->again);
    free(q);
}

/* The thread's id. */
struct gone {
    char thread_id[THREAD_ID_MAX + 1];
};

static void gone_one(struct round_part *part)
{
    const struct gone *gone = part->question;

    if (part->bridge->hub)
        hub_gone(part->bridge->hub, gone->thread_id);
    round_answer(part);
}

static bool tell_readers(const struct question *q)
{
    static const struct round_kind kind = {
        .question_size = sizeof(struct gone), .bounded = true, .each = gone_one};
    struct gone gone;

    memcpy(gone.thread_id, q->thread_id, sizeof(gone.thread_id));
    return round_ask(q->b, &kind, &gone, NULL);
}

static void on_answer(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct question *q = arg;

    (void)err;
    q->asked = false;
    if (!list_linked(&q->node)) { /* forget_free came first */
        timer_free(q->again);
        free(q);
        return;
    }
    if (outcome == PG_OK && pg_bool(res, 0, 0)) {
        question_free(q); /* it is there */
    } else if (outcome == PG_OK && tell_readers(q) && publisher_ready(q->b->publisher)) {
        log_info("thread forgotten", LOG_S("thread", q->thread_id));
        publisher_forget(q->b->publisher, q->thread_id);
        question_free(q);
    } else {
        timer_start(q->again, AGAIN_MS);
    }
}

static void ask(void *arg)
{
    struct question *q = arg;
    const char *params[] = {q->thread_id};

    q->asked = pg_pool_query(
        q->b->pg, "SELECT EXISTS (SELECT FROM threadcast.threads WHERE id = $1)", 1,
        params, DEADLINE_MS, on_answer, q);
    if (!q->asked)
        timer_start(q->again, AGAIN_MS);
}

void forget_thread(struct bridge *b, const char *thread_id)
{
    struct question *q;
    size_t len = strlen(thread_id);

    if (len > THREAD_ID_MAX || !b->pg || b->forgetting_count >= WAITING_MAX)
        return;
    q = calloc(1, sizeof *q);
    if (q)
        q->again = timer_new(b->loop, ask, q);
    if (!q || !q->again) {
        free(q);
        return;
    }
    q->b = b;
    memcpy(q->thread_id, thread_id, len + 1);
    list_push(&b->forgetting, &q->node);
    b->forgetting_count++;
    ask(q);
}

void forget_free(struct bridge *b)
{
    LIST_EACH(node, next, &b->forgetting) {
        struct question *q = LIST_ITEM(node, struct question, node);
        if (q->asked) {
            list_remove(&q->node); /* its answer comes, and frees it */
            b->forgetting_count--;
        } else {
            question_free(q);
        }
    }
}
