/* recall: SELECT recall_ends(…) (db/0003_forgotten.sql), once for every Redis that this
 * worker meets, tried until Postgres has answered; what comes back is the sweep's. */
#include "worker/recall.h"

#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "worker/conf.h"
#include "worker/store.h"
#include "worker/sweep.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 500, RUN_ID_SIZE = 64 };

struct recall {
    struct worker *w;
    struct timer *again;
    char met[RUN_ID_SIZE];   /* the one we are connected to */
    char asked[RUN_ID_SIZE]; /* the one that is asked about; empty: nothing is asked */
    char done[RUN_ID_SIZE];
};

static void ask(void *arg);

static void on_recalled(enum pg_outcome outcome, const struct pg_result *res,
                        const struct pg_error *err, void *arg)
{
    struct recall *rc = arg;
    (void)err;
    if (outcome == PG_OK) {
        int64_t n = pg_int(res, 0, 0);
        memcpy(rc->done, rc->asked, sizeof(rc->done));
        rc->w->stats.ends_recalled += (uint64_t)n;
        if (n) {
            log_info("another redis: ends are published again", LOG_I("runs", n));
            sweep_start(rc->w->sweep);
        }
    }
    rc->asked[0] = '\0';
    if (strcmp(rc->met, rc->done) != 0)
        timer_start(rc->again, AGAIN_MS);
}

static void ask(void *arg)
{
    struct recall *rc = arg;
    if (rc->asked[0] || strcmp(rc->met, rc->done) == 0)
        return;
    memcpy(rc->asked, rc->met, sizeof(rc->asked));
    if (store_recall_ends(rc->w, rc->asked, on_recalled, rc))
        return;
    rc->asked[0] = '\0';
    timer_start(rc->again, AGAIN_MS);
}

void recall_redis(struct recall *rc, const char *run_id)
{
    snprintf(rc->met, sizeof(rc->met), "%s", run_id);
    ask(rc);
}

struct recall *recall_new(struct worker *w)
{
    struct recall *rc = calloc(1, sizeof(*rc));
    if (!rc)
        return NULL;
    rc->w = w;
    rc->again = timer_new(w->loop, ask, rc);
    if (rc->again)
        return rc;
    free(rc);
    return NULL;
}

void recall_free(struct recall *rc)
{
    if (!rc)
        return;
    timer_free(rc->again);
    free(rc);
}
