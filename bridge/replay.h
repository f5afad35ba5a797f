/* replay: one page of a log becomes messages, neighbouring tokens merged or each event as
 * it was; made once for all readers of the page. */
#ifndef THREADCAST_REPLAY_H
#define THREADCAST_REPLAY_H

#include "bridge/client.h"

struct bridge_stats;
struct redis_reply;
struct replay;

/* What lies behind `from`. Returns new, or NULL. */
struct replay *replay_new(const struct redis_reply *entries, const char *thread_id,
                          struct event_id from, bool merge, struct bridge_stats *stats);
void replay_free(struct replay *r); /* NULL is fine */

/* Queues it for one reader and moves s->pos. */
void replay_give(const struct replay *r, struct sub *s);

#endif
