/* publisher: the worker's connections to Redis that publish, each with that one job. A
 * call is one use of publish.lua; it is sent again, unchanged, until Redis has answered
 * it. The caller sees to it that a run has one call under way at a time. */
#ifndef THREADCAST_WORKER_PUBLISHER_H
#define THREADCAST_WORKER_PUBLISHER_H

#include "common/names.h"
#include "worker/pending.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publish_call;
struct publishers;
struct worker;

enum publish_mode {
    PUBLISH_BEGIN,
    PUBLISH_MORE,
    PUBLISH_END,
    PUBLISH_BEGIN_END,
    PUBLISH_OUTSIDE, /* about a run that nobody has begun; no attempt, no number */
};

enum publish_result {
    PUBLISH_OK,      /* first and last id; zero when all of it was there already */
    PUBLISH_FENCED,  /* a higher attempt is known */
    PUBLISH_ENDED,   /* the run's end is published */
    PUBLISH_LOST,    /* the run is not there (any more): begin anew */
    PUBLISH_GAP,     /* Redis forgot some of it: begin anew */
    PUBLISH_TAKEN,   /* outside: the run has begun */
    PUBLISH_REFUSED, /* the script does not take such a call at all */
};

struct publish_answer {
    enum publish_result result;
    struct event_id first, last;
};
typedef void publish_fn(const struct publish_answer *answer, void *arg);

/* What a call says. Strings are borrowed until the answer or the cancel. */
struct publish_order {
    enum publish_mode mode;
    const char *thread_id, *run_id;
    int64_t attempt, number;
};

/* Reads w->conf; counts in w->stats; calls worker_on_redis when a connection is ready. */
struct publishers *publishers_new(struct worker *w);
void publishers_free(struct publishers *ps);
bool publishers_ready(const struct publishers *ps);
unsigned publishers_lane(struct publishers *ps); /* the connection for a new run */
/* Takes the batch. NULL: no memory, the batch is untouched. `fn` is called once, from
 * the loop, never from inside this call. */
struct publish_call *publish_start(struct publishers *ps, unsigned lane,
                                   const struct publish_order *order, struct batch *batch,
                                   publish_fn *fn, void *arg);
void publish_cancel(struct publish_call *call); /* `fn` is then not called */

#endif
