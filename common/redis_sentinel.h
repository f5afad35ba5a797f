/* redis_sentinel: where the master is now, as the sentinels say. One for all connections
 * of a loop that have the same URL: made by the first, freed with the last. Internal to
 * redis*.c. */
#ifndef THREADCAST_REDIS_SENTINEL_H
#define THREADCAST_REDIS_SENTINEL_H

#include <stdbool.h>

struct redis;

bool redis_sentinel_join(struct redis *r);  /* sets r->sentinel; false: no memory */
void redis_sentinel_leave(struct redis *r); /* harmless when it never joined */

/* Asks where to go: redis_found or redis_lose comes, from the loop. */
void redis_sentinel_ask(struct redis *r);
/* It went down: if it never got ready where it was sent, others are asked. */
void redis_sentinel_doubt(struct redis *r);

#endif
