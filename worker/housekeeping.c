/* housekeeping: one statement a round, in small batches so that nobody waits for its
 * locks. Several workers may do it at once: each skips what another has locked. It must
 * never touch a run that has not ended, or whose end is not published. */
#include "worker/housekeeping.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "worker/conf.h"
#include "worker/store.h"
#include "worker/worker.h"

#include <stdlib.h>

enum { BATCH = 500, MORE_MS = 1000 };

struct housekeeping {
    struct worker *w;
    struct timer *timer;
};

static void on_pruned(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct housekeeping *h = arg;
    struct worker_stats *s = &h->w->stats;
    uint64_t *const counters[] = {&s->released, &s->pruned_keys, &s->pruned_runs,
                                  &s->pruned_messages};
    int64_t ms = h->w->conf->housekeeping_ms;
    int64_t total = 0;

    if (outcome == PG_FAILED)
        log_warn("housekeeping fails", LOG_S("sqlstate", err->sqlstate),
                 LOG_S("why", err->message));
    for (int i = 0; outcome == PG_OK && i < 4; i++) {
        int64_t n = pg_int(res, 0, i);
        *counters[i] += (uint64_t)n;
        total += n;
        if (n >= BATCH && ms > MORE_MS)
            ms = MORE_MS; /* there is more */
    }
    if (total > 0)
        log_info("housekeeping", LOG_I("released", pg_int(res, 0, 0)),
                 LOG_I("idempotency", pg_int(res, 0, 1)),
                 LOG_I("runs", pg_int(res, 0, 2)), LOG_I("messages", pg_int(res, 0, 3)));
    timer_start(h->timer, ms - ms / 4 + clock_jitter(ms / 4 + 1));
}

static void on_timer(void *arg)
{
    struct housekeeping *h = arg;

    if (h->w->draining)
        return;
    if (!store_prune(h->w, BATCH, on_pruned, h))
        timer_start(h->timer, h->w->conf->housekeeping_ms);
}

struct housekeeping *housekeeping_new(struct worker *w)
{
    struct housekeeping *h = calloc(1, sizeof(*h));
    int64_t ms = w->conf->housekeeping_ms;

    if (!h)
        return NULL;
    h->w = w;
    h->timer = timer_new(w->loop, on_timer, h);
    if (!h->timer) {
        free(h);
        return NULL;
    }
    timer_start(h->timer, ms - ms / 4 + clock_jitter(ms / 4 + 1));
    return h;
}

void housekeeping_free(struct housekeeping *h)
{
    if (!h)
        return;
    timer_free(h->timer);
    free(h);
}
