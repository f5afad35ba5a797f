/* alive: says in Redis that this worker lives: `threadcast:worker:<instance>`, for one
 * lease, renewed every third of it, taken away at the end. Bridges look for it when a
 * run is silent. */
#ifndef THREADCAST_WORKER_ALIVE_H
#define THREADCAST_WORKER_ALIVE_H

struct alive;
struct worker;

struct alive *alive_new(struct worker *w);
void alive_free(struct alive *a);
/* Takes the key away; `done` is called once, from the loop or at once, also when Redis
 * cannot be told: then the lease does it. */
void alive_leave(struct alive *a, void (*done)(void *arg), void *arg);

#endif
