/* replay: one page of a log becomes messages for one reader, neighbouring tokens merged
 * unless it asked for each event as it was. */
#ifndef THREADCAST_REPLAY_H
#define THREADCAST_REPLAY_H

#include "bridge/client.h"

struct redis_reply;

/* Queues every entry behind s->pos and moves s->pos. */
void replay_page(struct sub *s, const struct redis_reply *entries);

#endif
