/* rate: how often each address did something in the current minute. */
#ifndef THREADCAST_RATE_H
#define THREADCAST_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_ADDRESSES_MAX 10000 /* in one minute; beyond, new ones are refused */

struct rate;

struct rate *rate_new(void);    /* returns new, or NULL */
void rate_free(struct rate *r); /* NULL is fine */

/* May this address do it once more? IPv6 counts by /64. now_ms is monotonic. false also
 * when memory is short. */
bool rate_take(struct rate *r, const char *address, int64_t per_min, int64_t now_ms);

#endif
