/* said: what a reply means to the owner of a connection, to be compared later. */
#ifndef THREADCAST_FUZZ_SAID_H
#define THREADCAST_FUZZ_SAID_H

#include "common/redis.h"

/* What the peer said, as a reader of its own understands it. */
struct said {
    enum redis_type type;
    uint64_t whole, channel, data; /* hashes */
    bool message, subscribed, left;
};

uint64_t hash(const void *data, size_t len);
uint64_t hash_of(const struct redis_reply *r);
bool is_word(const struct redis_reply *r, const char *word);
struct said understood(const struct redis_reply *r);

#endif
