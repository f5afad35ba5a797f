/* announce: says in Postgres which agents this worker has, as long as it is there, so
 * that the bridge can show what a message may name (GET /v1/agents). */
#ifndef THREADCAST_WORKER_ANNOUNCE_H
#define THREADCAST_WORKER_ANNOUNCE_H

struct announce;
struct worker;

struct announce *announce_new(struct worker *w); /* returns new, or NULL */
void announce_free(struct announce *a);          /* NULL is fine */
void announce_now(struct announce *a);           /* they have changed */
void announce_leave(struct announce *a);         /* it takes no more runs */

#endif
