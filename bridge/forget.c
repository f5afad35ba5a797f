/* forget: see forget.h. Called for every change of a thread; only a definite "there is no
 * such row" deletes. Somebody who takes the id meanwhile is refused, because its log is
 * still there. */
#include "bridge/forget.h"

#include "bridge/bridge.h"
#include "bridge/publisher.h"
#include "common/log.h"
#include "common/pg.h"

#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 10000

struct question {
    struct bridge *b;
    char thread_id[THREAD_ID_MAX + 1];
};

static void on_answer(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct question *q = arg;

    (void)err;
    if (outcome == PG_OK && !pg_bool(res, 0, 0)) {
        log_info("thread forgotten", LOG_S("thread", q->thread_id));
        publisher_forget(q->b->publisher, q->thread_id);
    }
    free(q);
}

void forget_thread(struct bridge *b, const char *thread_id)
{
    const char *params[] = {thread_id};
    struct question *q = calloc(1, sizeof *q);
    size_t len = strlen(thread_id);

    if (!q || len > THREAD_ID_MAX || !b->pg) {
        free(q);
        return;
    }
    q->b = b;
    memcpy(q->thread_id, thread_id, len + 1);
    if (!pg_pool_query(b->pg, "SELECT EXISTS (SELECT FROM threads WHERE id = $1)", 1,
                       params, DEADLINE_MS, on_answer, q))
        free(q);
}
