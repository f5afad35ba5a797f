/* block: what several readers are about to be sent alike, copied once into one piece. The
 * readers of a thread hold the same messages at the end of a turn; a few dozen pieces
 * for each of hundreds cost the kernel more than their bytes do. For one turn's flush. */
#ifndef THREADCAST_BLOCK_H
#define THREADCAST_BLOCK_H

#include "bridge/outbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define BLOCK_LEAST 4  /* messages: fewer are as fast one by one */
#define BLOCK_MOST 256 /* messages */
#define BLOCK_BYTES (64u << 10)

struct block {
    struct msg *first, *last; /* of the queue seen last; compared, never followed */
    uint32_t seen;            /* its messages */
    uint32_t count;           /* messages in data; 0: none */
    uint32_t len;
    struct msg *msgs[BLOCK_MOST]; /* references */
    char *data;                   /* BLOCK_BYTES, once needed */
};

/* All that waits in `o` as one piece, borrowed until the next call. false: it is not like
 * what was there before it, or not for a block: send it piece by piece. */
bool block_get(struct block *b, const struct outbuf *o, struct iovec *ret);
/* At the end of the flush. */
void block_clear(struct block *b);
void block_fini(struct block *b);

#endif
