/* rate: a map from address to count that is emptied every minute, so that it needs no
 * upkeep and cannot grow past one minute's addresses. Fails closed. */
#include "bridge/rate.h"

#include "common/strmap.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_MS 60000

struct rate {
    struct strmap *counts; /* → the count itself, as a pointer */
    int64_t began_ms;
};

struct rate *rate_new(void)
{
    struct rate *r = calloc(1, sizeof(*r));

    if (r)
        r->counts = strmap_new();
    if (r && !r->counts) {
        free(r);
        return NULL;
    }
    return r;
}

void rate_free(struct rate *r)
{
    if (!r)
        return;
    strmap_free(r->counts);
    free(r);
}

static bool turn_window(struct rate *r, int64_t now_ms)
{
    if (now_ms - r->began_ms < WINDOW_MS)
        return true;
    if (strmap_count(r->counts)) {
        struct strmap *fresh = strmap_new();
        if (!fresh)
            return false;
        strmap_free(r->counts);
        r->counts = fresh;
    }
    r->began_ms = now_ms;
    return true;
}

/* The bytes that count: whoever has one IPv6 address has 2^64 of them. */
static size_t address_key(const char *address, char out[64])
{
    unsigned char v6[16];

    if (inet_pton(AF_INET6, address, v6) == 1) {
        memcpy(out, v6, 8);
        return 8;
    }
    size_t len = strnlen(address, 63);
    memcpy(out, address, len);
    return len;
}

bool rate_take(struct rate *r, const char *address, int64_t per_min, int64_t now_ms)
{
    char key[64];
    size_t len = address_key(address, key);

    if (!turn_window(r, now_ms))
        return false;
    uintptr_t count = (uintptr_t)strmap_get(r->counts, key, len);
    if ((int64_t)count >= per_min ||
        (!count && strmap_count(r->counts) >= RATE_ADDRESSES_MAX))
        return false;
    return strmap_set(r->counts, key, len, (void *)(count + 1));
}
