/* worker: builds the parts in the order of the flow, takes them down in the other one,
 * and ends each turn: what waits is published, what is over is freed. */
#include "worker/worker.h"

#include "common/fetch.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "common/strmap.h"
#include "worker/agents.h"
#include "worker/agents/exec.h"
#include "worker/alive.h"
#include "worker/announce.h"
#include "worker/conf.h"
#include "worker/control.h"
#include "worker/housekeeping.h"
#include "worker/intake.h"
#include "worker/killpoint.h"
#include "worker/metrics.h"
#include "worker/publisher.h"
#include "worker/queued.h"
#include "worker/recall.h"
#include "worker/run.h"
#include "worker/store.h"
#include "worker/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVE_MS = 1000, HAND_BACK_AGAIN_MS = 100 };

/* --- the end of a turn ------------------------------------------------------------ */

static void on_turn_end(void *arg)
{
    struct worker *w = arg;
    struct list *node;

    while ((node = list_pop(&w->dirty)))
        run_flush(run_of_chore(node));
    while ((node = list_pop(&w->over)))
        run_free(run_of_chore(node));
}

/* --- drain ------------------------------------------------------------------------ */

static size_t count_runs(const struct worker *w)
{
    return strmap_count(w->runs);
}

static void on_left(void *arg)
{
    struct worker *w = arg;

    loop_stop(w->loop);
}

static void maybe_exit(struct worker *w)
{
    if (w->draining && count_runs(w) == 0 && list_empty(&w->processes))
        alive_leave(w->alive, on_left, w);
}

static void on_handed_back(enum pg_outcome outcome, const struct pg_result *res,
                           const struct pg_error *err, void *arg)
{
    struct worker *w = arg;

    (void)err;
    KILL_POINT("hand-back-answered");
    for (int i = 0; outcome == PG_OK && i < pg_rows(res); i++) {
        struct run *r = worker_run(w, pg_value(res, i, 0));
        if (r)
            run_handed_back(r);
    }
    if (outcome != PG_OK && !timer_running(w->drain_timer))
        timer_start(w->drain_timer, HAND_BACK_AGAIN_MS);
    maybe_exit(w);
}

/* The end of the drain, in which runs are handed back. */
static int64_t reserve_ms(const struct worker *w)
{
    int64_t half_ms = w->conf->drain_ms / 2;

    return half_ms < RESERVE_MS ? half_ms : RESERVE_MS;
}

/* What has not finished by now is given to others, while there is still time to say so:
 * the whole reserve from now on, for this process may have stood still. */
static void on_drain_timer(void *arg)
{
    struct worker *w = arg;
    struct store_runs runs;

    if (!w->handing_back)
        timer_start(w->exit_timer, reserve_ms(w));
    w->handing_back = true;
    store_runs_init(&runs);
    LIST_EACH(node, tmp, &w->run_list) {
        const struct run *r = run_of_node(node);
        if (run_has_agent(r))
            store_runs_add(&runs, run_id(r), run_attempt(r));
    }
    if (runs.count > 0)
        store_hand_back(w, &runs, on_handed_back, w);
    KILL_POINT("hand-back-sent");
    store_runs_fini(&runs);
}

static void on_exit_timer(void *arg)
{
    struct worker *w = arg;

    log_warn("leaving with runs", LOG_I("runs", count_runs(w)));
    alive_leave(w->alive, on_left, w);
}

void worker_drain(struct worker *w)
{
    int64_t ms = w->conf->drain_ms;

    log_info("draining", LOG_I("runs", count_runs(w)), LOG_I("drain_ms", ms));
    w->draining = true;
    intake_stop(w->intake);
    announce_leave(w->announce);
    exec_drain(w);
    timer_start(w->drain_timer, ms - reserve_ms(w));
    maybe_exit(w);
}

/* --- news ------------------------------------------------------------------------- */

void worker_on_redis(struct worker *w)
{
    intake_claim(w->intake);
    sweep_start(w->sweep);
}

void worker_on_run_gone(struct worker *w)
{
    if (w->draining)
        maybe_exit(w);
    else
        intake_claim(w->intake);
}

void worker_on_process_gone(struct worker *w)
{
    maybe_exit(w);
}

size_t worker_live_runs(const struct worker *w)
{
    size_t n = 0;

    LIST_EACH(node, tmp, (struct list *)&w->run_list)
        n += run_is_live(run_of_node(node));
    return n;
}

struct run *worker_run(const struct worker *w, const char *id)
{
    return strmap_get(w->runs, id, strlen(id));
}

/* --- which agents there are ------------------------------------------------------- */

static bool read_agents(struct worker *w)
{
    struct agents_source from = worker_conf_agents(w->conf);
    struct agents *a;
    struct buf err;

    buf_init(&err);
    a = agents_new(&from, &err);
    if (a) {
        agents_inherit(a, w->agents);
        agents_free(w->agents);
        w->agents = a;
    } else {
        log_error(w->agents ? "agents stay as they were" : "agents cannot be read",
                  LOG_S("why", err.data ? err.data : "no memory"));
    }
    buf_fini(&err);
    return a != NULL;
}

void worker_on_hup(struct worker *w)
{
    bool ok = read_agents(w);

    w->stats.reloads[ok ? 0 : 1]++;
    if (!ok)
        return;
    log_info("agents read again");
    if (!w->draining)
        announce_now(w->announce);
}

/* --- construction ----------------------------------------------------------------- */

static struct pg_pool *open_pool(struct worker *w)
{
    char name[64];
    struct pg_options o = {.url = w->conf->database_url,
                           .schema = w->conf->database_schema,
                           .schema_version = SCHEMA_VERSION,
                           .pooled = w->conf->database_listen_url != NULL,
                           .name = name,
                           .backoff_ms = WORKER_PG_BACKOFF_MS};

    snprintf(name, sizeof(name), "threadcast-worker:%s", w->instance);
    return pg_pool_new(w->loop, &o, (int)w->conf->database_pool);
}

static bool open_fetcher(struct worker *w)
{
    struct buf why;

    buf_init(&why);
    w->fetcher = fetcher_new(w->loop, w->conf->openai_ca_file, &why);
    if (!w->fetcher)
        log_error("cannot ask model providers", LOG_S("why", why.len ? why.data : ""));
    buf_fini(&why);
    return w->fetcher != NULL;
}

static bool open_all(struct worker *w)
{
    const struct worker_conf *conf = w->conf;

    if (!(w->runs = strmap_new()) || !read_agents(w))
        return false;
    w->drain_timer = timer_new(w->loop, on_drain_timer, w);
    w->exit_timer = timer_new(w->loop, on_exit_timer, w);
    if (!w->drain_timer || !w->exit_timer)
        return false;
    if (!open_fetcher(w))
        return false;
    if (!(w->recall = recall_new(w)) || !(w->publishers = publishers_new(w)) ||
        !(w->control = control_new(w)))
        return false;
    if (!(w->alive = alive_new(w)))
        return false;
    if (!(w->pool = open_pool(w)) || !(w->sweep = sweep_new(w)))
        return false;
    if (!(w->queued = queued_new(w)) || !(w->announce = announce_new(w)))
        return false;
    if (!(w->intake = intake_new(w)) || !(w->housekeeping = housekeeping_new(w)))
        return false;
    return !conf->metrics_listen || (w->metrics = metrics_new(w, conf->metrics_listen));
}

struct worker *worker_new(struct loop *l, const struct worker_conf *conf)
{
    struct worker *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->loop = l;
    w->conf = conf;
    instance_new(w->instance);
    list_init(&w->run_list);
    list_init(&w->dirty);
    list_init(&w->over);
    list_init(&w->processes);
    loop_on_turn_end(l, on_turn_end, w);
    if (open_all(w))
        return w;
    worker_free(w);
    return NULL;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    metrics_free(w->metrics);
    w->draining = true;
    if (w->intake)
        intake_stop(w->intake);
    /* everybody is still there to hear that their statements are lost */
    if (w->pool)
        pg_pool_free(w->pool);
    intake_free(w->intake);
    LIST_EACH(node, tmp, &w->run_list)
        run_free(run_of_node(node));
    housekeeping_free(w->housekeeping);
    announce_free(w->announce);
    queued_free(w->queued);
    sweep_free(w->sweep);
    exec_kill_all(w);
    fetcher_free(w->fetcher);
    alive_free(w->alive);
    control_free(w->control);
    publishers_free(w->publishers);
    recall_free(w->recall);
    timer_free(w->drain_timer);
    timer_free(w->exit_timer);
    agents_free(w->agents);
    strmap_free(w->runs);
    free(w);
}
