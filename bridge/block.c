/* block: see block.h. It is made when the second queue of a kind comes by, so that
 * readers who have nothing in common pay a comparison and no more. It must hold what it
 * compares: a message that was freed could come back as another one. */
#include "bridge/block.h"

#include <stdlib.h>
#include <string.h>

void block_clear(struct block *b)
{
    while (b->count)
        msg_unref(b->msgs[--b->count]);
    b->len = 0;
    b->first = b->last = NULL;
    b->seen = 0;
}

void block_fini(struct block *b)
{
    block_clear(b);
    free(b->data);
    b->data = NULL;
}

static bool fits(const struct outbuf *o)
{
    return o->count >= BLOCK_LEAST && o->count <= BLOCK_MOST && o->bytes <= BLOCK_BYTES &&
           !o->sent && !o->unchunked;
}

static bool holds(const struct block *b, const struct outbuf *o)
{
    if (b->count != o->count || b->len != o->bytes)
        return false;
    for (uint32_t i = 0; i < o->count; i++)
        if (b->msgs[i] != outbuf_at(o, i))
            return false;
    return true;
}

/* Has the queue before this one looked like it? */
static bool seen_before(struct block *b, const struct outbuf *o)
{
    struct msg *first = outbuf_at(o, 0), *last = outbuf_at(o, o->count - 1);
    bool same = b->first == first && b->last == last && b->seen == o->count;

    b->first = first;
    b->last = last;
    b->seen = o->count;
    return same;
}

static void fill(struct block *b, const struct outbuf *o)
{
    while (b->count)
        msg_unref(b->msgs[--b->count]);
    b->len = 0;
    for (; b->count < o->count; b->count++) {
        struct msg *m = msg_ref(outbuf_at(o, b->count));
        memcpy(b->data + b->len, m->data, m->len);
        b->len += m->len;
        b->msgs[b->count] = m;
    }
}

bool block_get(struct block *b, const struct outbuf *o, struct iovec *ret)
{
    if (!fits(o))
        return false;
    if (!holds(b, o)) {
        if (!seen_before(b, o) || (!b->data && !(b->data = malloc(BLOCK_BYTES))))
            return false;
        fill(b, o);
    }
    *ret = (struct iovec){b->data, b->len};
    return true;
}
