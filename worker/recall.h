/* recall: when Redis is another one than before (restart, failover), the ends that were
 * published shortly before may be missing there. They are published once more. */
#ifndef THREADCAST_WORKER_RECALL_H
#define THREADCAST_WORKER_RECALL_H

struct recall;
struct worker;

struct recall *recall_new(struct worker *w); /* returns new; NULL: no memory */
void recall_free(struct recall *rc);         /* NULL is fine */

/* A publisher is connected to the Redis of this run_id; as often as one wants. */
void recall_redis(struct recall *rc, const char *run_id);

#endif
