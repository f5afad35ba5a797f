/* Kept by redis.c in step with the bytes it sends; never calls anybody. */
#include "common/redis_queue.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_FIRST 32

void redis_queue_init(struct redis_queue *q, size_t max)
{
    *q = (struct redis_queue){.max = max};
}

void redis_queue_fini(struct redis_queue *q)
{
    free(q->items);
    *q = (struct redis_queue){0};
}

static bool queue_grow(struct redis_queue *q)
{
    size_t cap = q->cap ? q->cap * 2 : QUEUE_FIRST;
    struct redis_pending *items = calloc(cap, sizeof(*items));

    if (!items)
        return false;
    for (size_t i = 0; i < q->count; i++)
        items[i] = q->items[(q->head + i) & (q->cap - 1)];
    free(q->items);
    q->items = items;
    q->cap = cap;
    q->head = 0;
    return true;
}

bool redis_queue_push(struct redis_queue *q, const struct redis_pending *p)
{
    if (q->count >= q->max)
        return false;
    if (q->count == q->cap && !queue_grow(q))
        return false;
    q->items[(q->head + q->count++) & (q->cap - 1)] = *p;
    return true;
}

bool redis_queue_pop(struct redis_queue *q, struct redis_pending *ret_pending)
{
    if (q->count == 0)
        return false;
    *ret_pending = q->items[q->head];
    q->head = (q->head + 1) & (q->cap - 1);
    q->count--;
    return true;
}

const struct redis_pending *redis_queue_first(const struct redis_queue *q)
{
    return q->count ? &q->items[q->head] : NULL;
}
