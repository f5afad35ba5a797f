/* names: a chained hash table. Without memory the farm ends: it is a test's tool. */
#include "tests/faults/readers/names.h"

#include "tests/faults/readers/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 1024 };

struct name {
    struct name *next;
    void *thing;
    uint64_t hash;
    size_t len;
    char text[];
};

static uint64_t hash_of(const char *text, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash ^ (hash >> 29);
}

void names_fini(struct names *n, void (*release)(void *thing))
{
    for (size_t i = 0; i < n->size; i++)
        for (struct name *it = n->buckets[i], *next; it; it = next) {
            next = it->next;
            if (release)
                release(it->thing);
            free(it);
        }
    free(n->buckets);
    *n = (struct names){0};
}

void *names_get(const struct names *n, const char *text, size_t len)
{
    uint64_t hash = hash_of(text, len);
    struct name *it = n->size ? n->buckets[hash & (n->size - 1)] : NULL;

    while (it &&
           !(it->hash == hash && it->len == len && memcmp(it->text, text, len) == 0))
        it = it->next;
    return it ? it->thing : NULL;
}

static void grow(struct names *n)
{
    struct names bigger = {.size = n->size ? n->size * 4 : FIRST_SIZE, .count = n->count};

    bigger.buckets = mem_zero(bigger.size * sizeof(*bigger.buckets));
    for (size_t i = 0; i < n->size; i++)
        for (struct name *it = n->buckets[i], *next; it; it = next) {
            next = it->next;
            it->next = bigger.buckets[it->hash & (bigger.size - 1)];
            bigger.buckets[it->hash & (bigger.size - 1)] = it;
        }
    free(n->buckets);
    *n = bigger;
}

const char *names_add(struct names *n, const char *text, size_t len, void *thing)
{
    struct name *it = mem_zero(sizeof(*it) + len + 1);

    if (n->count >= n->size)
        grow(n);
    it->thing = thing;
    it->hash = hash_of(text, len);
    it->len = len;
    memcpy(it->text, text, len);
    it->next = n->buckets[it->hash & (n->size - 1)];
    n->buckets[it->hash & (n->size - 1)] = it;
    n->count++;
    return it->text;
}
