/* rng: the same numbers for the same seed, everywhere. Not for secrets. */
#ifndef FARM_RNG_H
#define FARM_RNG_H

#include <stdint.h>

/* splitmix64's last step: one well mixed number for each number. */
static inline uint64_t rng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t rng_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return rng_mix(*state);
}

/* From 0 to `below` - 1; 0 for 0. */
static inline uint64_t rng_below(uint64_t *state, uint64_t below)
{
    return below ? rng_next(state) % below : 0;
}

/* From 0 up to, but never, 1. */
static inline double rng_unit(uint64_t *state)
{
    return (double)(rng_next(state) >> 11) / 9007199254740992.0;
}

#endif
