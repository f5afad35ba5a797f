/* tour: a walk over the open streams of a reactor that writes one line of JSON for each:
 * some in a turn, the others in the next, so that events do not wait for it. Streams that
 * come or go meanwhile are no trouble. */
#ifndef THREADCAST_TOUR_H
#define THREADCAST_TOUR_H

#include "bridge/auth.h"
#include "common/buf.h"
#include "common/names.h"

#include <stdbool.h>
#include <stddef.h>

struct clients;
struct list;
struct tour;

/* Which streams; "" is any. */
struct tour_filter {
    size_t limit;
    char sub[SUB_MAX + 1];
    char thread_id[THREAD_ID_MAX + 1];
};

/* `lines` is the receiver's from here on. */
typedef void tour_fn(struct buf *lines, size_t listed, void *arg);

/* Calls `fn` once, maybe at once; `filter` is borrowed until then. false: no memory, it
 * will not be called. */
bool tour_start(struct clients *set, const struct tour_filter *filter, tour_fn *fn,
                void *arg);
/* For clients.c: a stream leaves the list of all; all tours end here and now. */
void tours_step_over(struct clients *set, const struct list *node);
void tours_end(struct clients *set);

#endif
