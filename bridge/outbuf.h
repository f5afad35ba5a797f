/* outbuf: what one stream still has to write: references to messages, in order. A few
 * need no memory of their own. Replayed bytes are paced by their reader, so only live
 * bytes count against its limit. */
#ifndef THREADCAST_OUTBUF_H
#define THREADCAST_OUTBUF_H

#include "bridge/msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define OUTBUF_FEW 4

struct outbuf {
    union {
        uintptr_t few[OUTBUF_FEW]; /* struct msg *, lowest bit: live */
        uintptr_t *ring;           /* more of them */
    };
    uint32_t cap;          /* of ring, a power of two; 0: the few suffice */
    uint32_t first, count; /* in either */
    uint32_t sent;         /* bytes of the first message that are already written */
    uint32_t bytes;        /* not yet written */
    uint32_t live;         /* of those, of live messages */
    bool unchunked;        /* HTTP/1.0: the block alone, without head and tail */
};

void outbuf_fini(struct outbuf *o);
/* Queues a reference of its own. false: no memory, or 4 GiB; nothing changed. */
bool outbuf_push(struct outbuf *o, struct msg *m, bool live);
/* Takes `m` in place of the newest message, as a live one. Only when outbuf_tail gave
 * one. */
void outbuf_replace_tail(struct outbuf *o, struct msg *m);
/* The newest message when not a byte of it has been written, else NULL. Borrowed. */
struct msg *outbuf_tail(const struct outbuf *o);
/* Message i, from the oldest. Borrowed. */
struct msg *outbuf_at(const struct outbuf *o, uint32_t i);
/* Fills iov with what comes next; returns how many. */
int outbuf_iov(const struct outbuf *o, struct iovec *iov, int max);
void outbuf_consume(struct outbuf *o, size_t n); /* n bytes were written */

#endif
