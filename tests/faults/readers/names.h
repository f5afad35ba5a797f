/* names: text → thing, for the farm's few kinds of names. Nothing is ever removed. */
#ifndef FARM_NAMES_H
#define FARM_NAMES_H

#include <stddef.h>

struct name; /* one entry */

struct names {
    struct name **buckets;
    size_t size, count;
};

void names_fini(struct names *n, void (*release)(void *thing));

void *names_get(const struct names *n, const char *text, size_t len);

/* The name must be new. Copies it; returns the copy, which lives as long as `n`. */
const char *names_add(struct names *n, const char *text, size_t len, void *thing);

#endif
