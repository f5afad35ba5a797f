/* fuzz: what the targets share: a check that holds in every build, and taking an input
 * apart. What is not there is 0, so every input means something. */
#ifndef THREADCAST_FUZZ_H
#define THREADCAST_FUZZ_H

#include "common/buf.h"
#include "common/event.h" /* struct span */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                  \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition);   \
            abort();                                                                     \
        }                                                                                \
    } while (0)

struct fuzz_input {
    const uint8_t *at;
    size_t len;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    if (!in->len)
        return 0;
    in->len--;
    return *in->at++;
}

/* What stands before the next `end` (dropped), or all that is left. */
static inline struct span fuzz_until(struct fuzz_input *in, char end)
{
    const uint8_t *stop = in->len ? memchr(in->at, end, in->len) : NULL;
    size_t len = stop ? (size_t)(stop - in->at) : in->len;
    struct span s = {(const char *)in->at, len};

    in->at += len + (stop != NULL);
    in->len -= len + (stop != NULL);
    return s;
}

/* Up to as many bytes as the next one says. */
static inline struct span fuzz_piece(struct fuzz_input *in)
{
    size_t len = fuzz_byte(in);
    struct span s = {(const char *)in->at, len < in->len ? len : in->len};

    in->at += s.len;
    in->len -= s.len;
    return s;
}

/* A copy of exactly that size with a NUL behind it; the sanitizer sees one byte more. */
static inline char *fuzz_copy(struct span s)
{
    char *copy = malloc(s.len + 1);

    MUST(copy);
    if (s.len)
        memcpy(copy, s.at, s.len);
    copy[s.len] = '\0';
    return copy;
}

/* How long the i-th piece of an input is that is to be read in pieces: the input's own
 * bytes say it, from the last one backwards. */
static inline size_t fuzz_cut(const void *data, size_t size, size_t i)
{
    const uint8_t *bytes = data;
    uint8_t b = size ? bytes[size - 1 - i % size] : 0;

    return b < 0x80 ? 1u + b % 16u : 1u + b * 4u;
}

#endif
