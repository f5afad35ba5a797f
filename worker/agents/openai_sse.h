/* openai_sse: bytes of a model provider's answer become the events of a stream, by the
 * rules of EventSource (WHATWG HTML, 9.2.6). One thing more: a line with the field
 * `error`, which some servers send and those rules drop, is an event of that name. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_SSE_H
#define THREADCAST_WORKER_AGENTS_OPENAI_SSE_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* `data` is NUL-terminated, any bytes. false: stop, the rest is dropped. */
typedef bool openai_sse_fn(const char *name, const char *data, size_t len, void *arg);

struct openai_sse {
    struct buf line; /* whose end has not come */
    struct buf data; /* of the event whose blank line has not come, LF behind each line */
    struct buf name;
    size_t max; /* bytes of one event and of one line */
    bool begun; /* a byte order mark would be text by now */
    bool cr;    /* the last byte was a CR: an LF belongs to it */
};

void openai_sse_init(struct openai_sse *s, size_t max);
void openai_sse_fini(struct openai_sse *s);
/* false: an event or a line is larger than it may be, or there is no memory. An event
 * whose blank line never comes is none. */
bool openai_sse_feed(struct openai_sse *s, const char *bytes, size_t len,
                     openai_sse_fn *fn, void *arg);

#endif
