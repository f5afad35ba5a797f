/* worker: what the files of the worker share, and the schedule of a turn.
 *
 *     intake ─▶ run ─▶ agent ─▶ run_on_* ─▶ pending ─▶ publisher ─▶ Redis
 *        │        └── end: store (Postgres) first, then publisher, then marked
 *        └── LISTEN, poll, claim, renew;  sweep: ends nobody has published
 *
 * One loop, one thread, nothing global. */
#ifndef THREADCAST_WORKER_WORKER_H
#define THREADCAST_WORKER_WORKER_H

#include "common/list.h"
#include "common/names.h"
#include "worker/stats.h"

#include <stdbool.h>
#include <stddef.h>

struct agents;
struct alive;
struct announce;
struct control;
struct fetcher;
struct exec_orphans;
struct housekeeping;
struct intake;
struct loop;
struct metrics;
struct pg_pool;
struct publishers;
struct queued;
struct recall;
struct run;
struct strmap;
struct sweep;
struct timer;
struct worker_conf;

/* The longest pause between two tries to reach Postgres: within twice that of its return
 * every worker has renewed what is its own (intake.c waits so long before a take-over).
 */
enum { WORKER_PG_BACKOFF_MS = 1000 };

struct worker {
    struct loop *loop;
    const struct worker_conf *conf; /* borrowed */
    char instance[INSTANCE_SIZE];
    struct worker_stats stats;

    struct agents *agents;
    struct pg_pool *pool;
    struct fetcher *fetcher; /* asks model providers */
    struct publishers *publishers;
    struct intake *intake;
    struct sweep *sweep;
    struct recall *recall;
    struct queued *queued;
    struct announce *announce;
    struct housekeeping *housekeeping;
    struct control *control;
    struct alive *alive;
    struct metrics *metrics; /* NULL: off */

    struct strmap *runs;          /* by run id */
    struct list run_list;         /* all of them */
    struct list dirty;            /* have something to publish at the end of this turn */
    struct list over;             /* freed at the end of this turn */
    struct list processes;        /* of exec agents, not gone yet */
    struct exec_orphans *orphans; /* what they leave behind; NULL: none was started */

    bool draining, handing_back;
    struct timer *drain_timer, *exit_timer;
};

struct worker *worker_new(struct loop *l, const struct worker_conf *conf);
void worker_free(struct worker *w);
void worker_drain(struct worker *w);       /* SIGTERM */
void worker_on_hup(struct worker *w);      /* SIGHUP: the agents' file is read again */
void worker_on_redis(struct worker *w);    /* a publisher became ready */
void worker_on_run_gone(struct worker *w); /* a place is free; maybe the last one */
void worker_on_process_gone(struct worker *w);
/* Runs that take a place: not those that only wait for their end's publication. */
size_t worker_live_runs(const struct worker *w);
struct run *worker_run(const struct worker *w, const char *run_id);

#endif
