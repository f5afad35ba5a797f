/* redis_dial: from a URL to a connected socket: name, addresses one after the other,
 * socket options. Internal to redis*.c. */
#ifndef THREADCAST_REDIS_DIAL_H
#define THREADCAST_REDIS_DIAL_H

#include <stdint.h>

struct loop;
struct redis_dial;
struct redis_url;

/* fd is the receiver's from here on, or -1 and `why` (borrowed) says what failed. */
typedef void redis_dial_fn(int fd, const char *why, void *arg);

/* Returns new, or NULL without memory. `fn` is called once, from the loop and never from
 * inside this call; the dial is gone when `fn` is called. Borrows `url` until then. */
struct redis_dial *redis_dial_start(struct loop *l, const struct redis_url *url,
                                    int64_t budget_ms, redis_dial_fn *fn, void *arg);
void redis_dial_cancel(struct redis_dial *d); /* NULL is fine */

#endif
