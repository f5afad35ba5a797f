/* siphash: a keyed hash of short strings: who does not know the key cannot choose
 * collisions. (Aumasson, Bernstein: SipHash, 2012; with 1 and 3 rounds.) */
#ifndef THREADCAST_SIPHASH_H
#define THREADCAST_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* seed: random, and kept to oneself. Allocates nothing. */
uint32_t siphash(const uint64_t seed[2], const char *key, size_t len);

#endif
