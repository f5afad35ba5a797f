/* pace: did the pieces of a probe come as they were sent, or in heaps? Pure. */
#ifndef THREADCAST_CLI_PACE_H
#define THREADCAST_CLI_PACE_H

#include "cli/stream.h"

struct pace {
    size_t pieces, heaps; /* heaps: pieces that came together count once */
    int64_t hello_late_ms, late_median_ms, late_max_ms; /* against the quickest piece */
    size_t heap_bytes; /* of a heap's text, without the last; 0: there was but one */
    bool held;         /* something on the way keeps text back */
    bool uneven;       /* it came in heaps, for whatever reason */
};

/* every_ms: how often one was sent. */
struct pace pace_of(const struct stream *s, const struct answer *a, int64_t every_ms);

#endif
