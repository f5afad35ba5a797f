/* outbuf: the last stop before the socket. Pushing is a pointer and a count; nothing is
 * copied and nothing is allocated for each event. Must never write to a socket. */
#include "bridge/outbuf.h"

#include <stdlib.h>

static size_t wire_len(const struct outbuf *o, const struct msg *m)
{
    return o->unchunked ? m->len - m->head - MSG_TAIL : m->len;
}

static const char *wire_at(const struct outbuf *o, const struct msg *m)
{
    return o->unchunked ? m->data + m->head : m->data;
}

static uint32_t capacity(const struct outbuf *o)
{
    return o->ring ? o->cap : OUTBUF_FEW;
}

static struct msg **slot(struct outbuf *o, uint32_t i)
{
    struct msg **ring = o->ring ? o->ring : o->few;
    return &ring[(o->first + i) & (capacity(o) - 1)];
}

static struct msg *at(const struct outbuf *o, uint32_t i)
{
    struct msg *const *ring = o->ring ? o->ring : o->few;
    return ring[(o->first + i) & (capacity(o) - 1)];
}

void outbuf_fini(struct outbuf *o)
{
    for (uint32_t i = 0; i < o->count; i++)
        msg_unref(at(o, i));
    free(o->ring);
    *o = (struct outbuf){.unchunked = o->unchunked};
}

static bool grow(struct outbuf *o)
{
    uint32_t cap = capacity(o) * 4;
    struct msg **ring = malloc(cap * sizeof(struct msg *));
    if (!ring)
        return false;
    for (uint32_t i = 0; i < o->count; i++)
        ring[i] = at(o, i);
    free(o->ring);
    o->ring = ring;
    o->cap = cap;
    o->first = 0;
    return true;
}

bool outbuf_push(struct outbuf *o, struct msg *m, bool live)
{
    if (o->count == capacity(o) && !grow(o))
        return false;
    *slot(o, o->count++) = msg_ref(m);
    o->bytes += wire_len(o, m);
    if (!live && outbuf_live(o) == wire_len(o, m))
        o->paced = o->bytes; /* nothing live in front: still all paced */
    return true;
}

struct msg *outbuf_tail(const struct outbuf *o)
{
    if (!o->count || (o->count == 1 && o->sent))
        return NULL;
    return at(o, o->count - 1);
}

void outbuf_replace_tail(struct outbuf *o, struct msg *m)
{
    struct msg **tail = slot(o, o->count - 1);
    size_t old = wire_len(o, *tail), now = wire_len(o, m);
    bool paced = o->paced == o->bytes;
    o->bytes = o->bytes - old + now;
    if (paced)
        o->paced -= old; /* what was merged into it is live */
    msg_unref(*tail);
    *tail = m;
}

int outbuf_iov(const struct outbuf *o, struct iovec *iov, int max)
{
    int n = 0;
    for (uint32_t i = 0; i < o->count && n < max; i++, n++) {
        const struct msg *m = at(o, i);
        size_t skip = i ? 0 : o->sent;
        iov[n].iov_base = (char *)(uintptr_t)wire_at(o, m) + skip;
        iov[n].iov_len = wire_len(o, m) - skip;
    }
    return n;
}

void outbuf_consume(struct outbuf *o, size_t n)
{
    o->bytes -= n;
    o->paced -= n < o->paced ? n : o->paced;
    o->sent += n;
    while (o->count) {
        struct msg *m = at(o, 0);
        size_t len = wire_len(o, m);
        if (o->sent < len)
            return;
        o->sent -= len;
        msg_unref(m);
        o->first = (o->first + 1) & (capacity(o) - 1);
        o->count--;
    }
    free(o->ring); /* an idle reader holds no queue */
    o->ring = NULL;
    o->cap = o->first = 0;
}
