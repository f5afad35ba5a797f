/* pending: events of one run that wait for their call: adjacent pieces of text grow
 * together, everything else stands as it came. What is taken out is a batch: encoded
 * events in one piece of memory. */
#ifndef THREADCAST_WORKER_PENDING_H
#define THREADCAST_WORKER_PENDING_H

#include "common/buf.h"
#include "common/event.h"
#include "common/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Raw bytes of one token: escaped six times over it still fits into one event. */
#define PENDING_TOKEN_MAX (32u * 1024)

struct pending {
    struct list items;
    size_t count; /* events it will be */
    size_t bytes; /* of text and JSON */
    bool urgent;  /* something else than text waits */
    bool sealed;  /* the last item may not grow any more */
    bool failed;  /* out of memory: something is missing */
};

void pending_init(struct pending *p);
void pending_clear(struct pending *p); /* forgets all that waits */
/* Valid UTF-8 in whole characters. */
void pending_text(struct pending *p, const char *text, size_t len, int64_t ts_ms);
void pending_json(struct pending *p, enum event_type type, const char *json, size_t len,
                  int64_t ts_ms);
/* From here on `count` events are these and no others. */
void pending_seal(struct pending *p);

struct batch {
    struct buf data;
    size_t *ends; /* where each event ends in data */
    size_t count;
};
void batch_fini(struct batch *b);
/* Moves up to `max` events into an empty batch. false: no memory, nothing was moved. */
bool pending_take(struct pending *p, const struct event_run *run, size_t max,
                  struct batch *ret_batch);

#endif
