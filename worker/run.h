/* run: one attempt at one run, from the claim to its marked end.
 *
 *   STARTING ─▶ GOING ─▶ ENDING ─▶ CLOSING ─▶ OVER
 *   (history)   (agent)  (Postgres) (Redis)    (freed at the end of the turn)
 *
 * Any state but CLOSING goes to OVER when the run turns out to be somebody else's. */
#ifndef THREADCAST_WORKER_RUN_H
#define THREADCAST_WORKER_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list;
struct pg_result;
struct run;
struct store_runs;
struct worker;

/* Starts what row `row` of a claim says; false: no memory (the lease brings it back). */
bool run_start(struct worker *w, const struct pg_result *res, int row);
void run_free(struct run *r); /* kills its agent; nothing is written anywhere */

struct run *run_of_node(struct list *node); /* of worker->run_list */
const char *run_id(const struct run *r);
int64_t run_attempt(const struct run *r);
bool run_is_live(const struct run *r);   /* takes a place, its lease is renewed */
bool run_has_agent(const struct run *r); /* can be handed back */

void run_cancel(struct run *r);
/* It is not ours any more: nothing of it is written or published from here on. */
void run_drop(struct run *r, const char *why);
void run_handed_back(struct run *r);
struct run *run_of_chore(struct list *node); /* of worker->dirty and worker->over */
void run_flush(struct run *r); /* end of the turn: publishes what waits, if it may */

#endif
