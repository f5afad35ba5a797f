/* chunks: the chunked transfer coding, taken apart strictly at any split. */
#ifndef FARM_CHUNKS_H
#define FARM_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chunks_state {
    CHUNKS_SIZE, /* hexadecimal digits */
    CHUNKS_SIZE_LF,
    CHUNKS_DATA,
    CHUNKS_CR, /* behind the data */
    CHUNKS_LF,
    CHUNKS_END_CR, /* behind the last chunk's size */
    CHUNKS_END_LF,
    CHUNKS_DONE
};

struct chunks {
    enum chunks_state state;
    uint8_t digits;
    uint32_t left;
};

typedef void chunks_fn(const char *data, size_t len, void *arg);

/* Gives the data to `fn`. NULL, or what is wrong; then no more may be fed. */
const char *chunks_feed(struct chunks *c, const char *data, size_t len, chunks_fn *fn,
                        void *arg);

#endif
