/* sweep: publishes ends that were committed and that nobody has published: the worker
 * died in between, or the run ended while it waited. Any worker does it for all. */
#ifndef THREADCAST_WORKER_SWEEP_H
#define THREADCAST_WORKER_SWEEP_H

struct sweep;
struct worker;

struct sweep *sweep_new(struct worker *w);
void sweep_free(struct sweep *s);
void sweep_start(struct sweep *s); /* looks once; while it looks it does not again */

#endif
