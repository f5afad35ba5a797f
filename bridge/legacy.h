/* legacy: the older runs that have readers on this reactor, and the subscriber connection
 * that hears of them. Made with the first such reader, so it costs nothing where nobody
 * uses the older interface. */
#ifndef THREADCAST_LEGACY_H
#define THREADCAST_LEGACY_H

#include "common/list.h"

#include <stdbool.h>

struct bridge;
struct legacy;
struct legacy_stream;

struct legacy_run {
    struct legacy *legacy;
    struct list streams; /* struct legacy_stream.node */
    int asked;           /* SUBSCRIBEs without an answer */
    bool subscribed; /* to all of its channels: what is published from now on is heard */
    char id[];
};

void legacy_free(struct legacy *l); /* NULL is fine; its streams must have left */

/* Puts a stream on its run. NULL: no memory. It is woken when the run is subscribed. */
struct legacy_run *legacy_join(struct bridge *b, const char *run_id,
                               struct legacy_stream *s);
/* Reads of lists, --replay-concurrency at once: what Redis has to hold for us is bounded.
 * false: later, by legacy_stream_more. */
bool legacy_read_begin(struct legacy *l, struct legacy_stream *s);
void legacy_read_end(struct legacy *l);    /* the answer is here: the next one's turn */
void legacy_read_unsent(struct legacy *l); /* nothing was asked */

/* Takes it off; the last one unsubscribes the run. */
void legacy_leave(struct legacy_run *run, struct legacy_stream *s);

#endif
