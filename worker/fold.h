/* fold: all that one attempt has made so far, in the fewest events: the reasoning, the
 * steps as they were, the text. With it a run can begin anew anywhere, and its text is
 * the final message. */
#ifndef THREADCAST_WORKER_FOLD_H
#define THREADCAST_WORKER_FOLD_H

#include "common/buf.h"
#include "worker/pending.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fold {
    struct buf text;      /* the answer: valid UTF-8 */
    struct buf reasoning; /* text of it, joined */
    struct buf steps;     /* JSON objects, one a line */
    struct buf status;    /* the last one, JSON */
};

void fold_init(struct fold *f);
void fold_fini(struct fold *f);
void fold_text(struct fold *f, const char *text, size_t len);
void fold_reasoning(struct fold *f, const char *text, size_t len);
/* A delta: progress and activity are of the moment and are not kept; reasoning comes
 * through fold_reasoning. */
void fold_delta(struct fold *f, const char *kind, const char *json, size_t len);
void fold_status(struct fold *f, const char *json, size_t len);
bool fold_failed(const struct fold *f); /* out of memory: something is missing */
/* `rewind` and everything kept, as events. */
void fold_pour(const struct fold *f, struct pending *into, int64_t ts_ms);
/* {"kind":"reasoning","text":…} */
void fold_reasoning_json(struct buf *out, const char *text, size_t len);

#endif
