/* merges: see merges.h. It holds references to all it compares by address, so that none
 * of them can come back as another message. */
#include "bridge/merges.h"

#include "bridge/msg.h"
#include "bridge/sse.h"

static void forget_last(struct merges *s)
{
    s->count--;
    msg_unref(s->kept[s->count].tail);
    msg_unref(s->kept[s->count].both);
}

void merges_clear(struct merges *s)
{
    while (s->count)
        forget_last(s);
    msg_unref(s->event);
    s->event = NULL;
}

struct msg *merges_get(struct merges *s, struct msg *tail, struct msg *m)
{
    if (s->event != m) {
        merges_clear(s);
        s->event = msg_ref(m);
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->kept[i].tail == tail)
            return s->kept[i].both;
    if (s->count == MERGES_KEPT)
        forget_last(s);
    struct msg *both = sse_merge(tail, m);
    s->kept[s->count].tail = msg_ref(tail);
    s->kept[s->count].both = both;
    s->count++;
    return both;
}
