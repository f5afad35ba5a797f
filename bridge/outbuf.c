/* outbuf: the last stop before the socket. Pushing is a reference and a count; nothing is
 * copied and nothing is allocated for each event. Must never write to a socket. */
#include "bridge/outbuf.h"

#include <stdlib.h>

/* A reference remembers in its lowest bit whether it counts as live. */
static struct msg *msg_of(uintptr_t ref)
{
    return (struct msg *)(ref & ~(uintptr_t)1);
}

static bool is_live(uintptr_t ref)
{
    return ref & 1;
}

static uint32_t wire_len(const struct outbuf *o, const struct msg *m)
{
    return o->unchunked ? m->len - m->head - MSG_TAIL : m->len;
}

static const char *wire_at(const struct outbuf *o, const struct msg *m)
{
    return o->unchunked ? m->data + m->head : m->data;
}

static uint32_t capacity(const struct outbuf *o)
{
    return o->cap ? o->cap : OUTBUF_FEW;
}

static uintptr_t *slot(struct outbuf *o, uint32_t i)
{
    uintptr_t *ring = o->cap ? o->ring : o->few;
    return &ring[(o->first + i) & (capacity(o) - 1)];
}

static uintptr_t at(const struct outbuf *o, uint32_t i)
{
    const uintptr_t *ring = o->cap ? o->ring : o->few;
    return ring[(o->first + i) & (capacity(o) - 1)];
}

struct msg *outbuf_at(const struct outbuf *o, uint32_t i)
{
    return msg_of(at(o, i));
}

static void ring_free(struct outbuf *o)
{
    if (o->cap)
        free(o->ring);
    o->cap = 0;
}

void outbuf_fini(struct outbuf *o)
{
    for (uint32_t i = 0; i < o->count; i++)
        msg_unref(msg_of(at(o, i)));
    ring_free(o);
    *o = (struct outbuf){.unchunked = o->unchunked};
}

static bool grow(struct outbuf *o)
{
    uint32_t cap = capacity(o) * 4;
    uintptr_t *ring = malloc(cap * sizeof(*ring));
    if (!ring)
        return false;
    for (uint32_t i = 0; i < o->count; i++)
        ring[i] = at(o, i);
    ring_free(o);
    o->ring = ring;
    o->cap = cap;
    o->first = 0;
    return true;
}

bool outbuf_push(struct outbuf *o, struct msg *m, bool live)
{
    uint32_t len = wire_len(o, m);
    if (len > UINT32_MAX - o->bytes || (o->count == capacity(o) && !grow(o)))
        return false;
    *slot(o, o->count++) = (uintptr_t)msg_ref(m) | live;
    o->bytes += len;
    if (live)
        o->live += len;
    return true;
}

struct msg *outbuf_tail(const struct outbuf *o)
{
    if (!o->count || (o->count == 1 && o->sent))
        return NULL;
    return msg_of(at(o, o->count - 1));
}

void outbuf_replace_tail(struct outbuf *o, struct msg *m)
{
    uintptr_t *tail = slot(o, o->count - 1);
    uint32_t old = wire_len(o, msg_of(*tail)), now = wire_len(o, m);
    o->bytes = o->bytes - old + now;
    o->live = o->live - (is_live(*tail) ? old : 0) + now;
    msg_unref(msg_of(*tail));
    *tail = (uintptr_t)m | 1;
}

int outbuf_iov(const struct outbuf *o, struct iovec *iov, int max)
{
    int n = 0;
    for (uint32_t i = 0; i < o->count && n < max; i++, n++) {
        const struct msg *m = msg_of(at(o, i));
        size_t skip = i ? 0 : o->sent;
        iov[n].iov_base = (char *)(uintptr_t)wire_at(o, m) + skip;
        iov[n].iov_len = wire_len(o, m) - skip;
    }
    return n;
}

void outbuf_consume(struct outbuf *o, size_t n)
{
    o->bytes -= (uint32_t)n;
    while (o->count) {
        uintptr_t ref = at(o, 0);
        uint32_t left = wire_len(o, msg_of(ref)) - o->sent;
        uint32_t part = n < left ? (uint32_t)n : left;
        if (is_live(ref))
            o->live -= part;
        if (part < left) {
            o->sent += part;
            return;
        }
        n -= part;
        o->sent = 0;
        msg_unref(msg_of(ref));
        o->first = (o->first + 1) & (capacity(o) - 1);
        o->count--;
    }
    ring_free(o); /* an idle reader holds no queue */
    o->first = 0;
}
