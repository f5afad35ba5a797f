/* redis_queue: who waits for which reply, in the order the commands were sent. A ring
 * that grows up to its limit. Internal to redis*.c. */
#ifndef THREADCAST_REDIS_QUEUE_H
#define THREADCAST_REDIS_QUEUE_H

#include "common/redis.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis_pending {
    redis_reply_fn *fn; /* NULL: nobody asks */
    void *arg;
    int64_t sent_ms;
    char *channel; /* of a (un)subscribe; owned; else NULL */
    size_t channel_len;
    bool leaves; /* an unsubscribe */
};

struct redis_queue {
    struct redis_pending *items;
    size_t head, count, cap, max;
};

void redis_queue_init(struct redis_queue *q, size_t max);
void redis_queue_fini(struct redis_queue *q); /* must be empty */
/* Takes p's channel. false: full or no memory, nothing taken. */
bool redis_queue_push(struct redis_queue *q, const struct redis_pending *p);
bool redis_queue_pop(struct redis_queue *q, struct redis_pending *ret_pending);
const struct redis_pending *redis_queue_first(const struct redis_queue *q);

#endif
