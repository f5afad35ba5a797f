/* merges: tokens put together for slow readers. Those of a thread are slow together and
 * hold the same messages: what was merged for one is the same for the next, and is made
 * once. Remembers one event's merges, a few. */
#ifndef THREADCAST_MERGES_H
#define THREADCAST_MERGES_H

#include <stddef.h>

struct msg;

#define MERGES_KEPT 8

struct merges {
    struct msg *event; /* that these were merged with; references, all of them */
    size_t count;
    struct {
        struct msg *tail, *both; /* both NULL: they cannot be merged */
    } kept[MERGES_KEPT];
};

/* The token `tail` and `m` behind it as one message, borrowed until the next call with
 * another `m` or merges_clear. NULL: they stay two, or there is no memory. */
struct msg *merges_get(struct merges *s, struct msg *tail, struct msg *m);
void merges_clear(struct merges *s);

#endif
