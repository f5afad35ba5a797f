/* forgotten: ends that Redis has lost. After an older dump or a failover a run may be
 * live there again whose end was published long ago; its row in Postgres says so, and a
 * worker publishes the end once more. */
#ifndef THREADCAST_FORGOTTEN_H
#define THREADCAST_FORGOTTEN_H

#include "bridge/live.h"

struct topic;

/* Asks Postgres about those of a quiet thread that Redis calls live, once for every
 * subscription of the thread: between two of them Redis forgets nothing. */
void forgotten_ask(struct topic *t, const struct live_run *runs, size_t count);

#endif
