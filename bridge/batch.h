/* batch: the events of one publishing request, cut out of its body, checked and made
 * ready for publish.lua. Pure: no request, no socket. */
#ifndef THREADCAST_BATCH_H
#define THREADCAST_BATCH_H

#include "common/buf.h"
#include "common/event.h" /* struct span */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_MAX 100 /* events */

struct batch {
    struct buf bytes; /* normalised events, one behind the other */
    struct span events[BATCH_MAX];
    size_t count;
    struct buf runs; /* distinct run ids that they claim, joined by spaces */
};

struct batch_fault {
    const char *code; /* "bad_event" */
    char message[128];
};

void batch_init(struct batch *b);
void batch_fini(struct batch *b);

/* Fills an empty batch from `json`, an object or an array of objects, which has been
 * found to be valid JSON. All or nothing: false leaves nothing usable and says why. The
 * bytes of each event stay as they are, but for id, threadId and ts (event_normalize). */
bool batch_fill(struct batch *b, const char *json, size_t len, const char *thread_id,
                int64_t now_ms, struct batch_fault *ret_fault);

#endif
