/* slice: the part of a turn that is for those who come and go. What was published leaves
 * at the end of the turn, behind all of them: so a crowd is served in many short turns,
 * and not in a long one. */
#ifndef THREADCAST_SLICE_H
#define THREADCAST_SLICE_H

#include <stdbool.h>

struct slice {
    unsigned used;
};

/* May one more be served in this turn, of `most`? Who hears no has to be asked again in
 * the next one: its socket still says so then, or a timer does. */
static inline bool slice_take(struct slice *s, unsigned most)
{
    if (s->used >= most)
        return false;
    s->used++;
    return true;
}

static inline void slice_end(struct slice *s)
{
    s->used = 0;
}

#endif
