/* gather: see gather.h. */
#include "bridge/gather.h"

#include "common/siphash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

enum { PLACE_BITS = 16, PLACES = 1 << PLACE_BITS };

struct gather {
    size_t reactors;
    uint32_t most;
    uint64_t seed[2];
    atomic_uint readers[PLACES];
};

struct gather *gather_new(size_t reactors, int64_t most)
{
    struct gather *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->reactors = reactors;
    g->most = (uint32_t)most;
    if (getrandom(g->seed, sizeof(g->seed), 0) != sizeof(g->seed))
        abort();
    return g;
}

void gather_free(struct gather *g)
{
    free(g);
}

uint32_t gather_place(const struct gather *g, const char *thread_id, size_t len)
{
    return siphash(g->seed, thread_id, len);
}

size_t gather_home(const struct gather *g, uint32_t place)
{
    return (place >> PLACE_BITS) % g->reactors;
}

static atomic_uint *readers_of(struct gather *g, uint32_t place)
{
    return &g->readers[place % PLACES];
}

void gather_joined(struct gather *g, uint32_t place)
{
    atomic_fetch_add_explicit(readers_of(g, place), 1, memory_order_relaxed);
}

void gather_left(struct gather *g, uint32_t place)
{
    atomic_fetch_sub_explicit(readers_of(g, place), 1, memory_order_relaxed);
}

bool gather_admit(struct gather *g, uint32_t place)
{
    if (atomic_fetch_add_explicit(readers_of(g, place), 1, memory_order_relaxed) <
        g->most)
        return true;
    gather_left(g, place);
    return false;
}
