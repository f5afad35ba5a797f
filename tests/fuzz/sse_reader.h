/* sse_reader: what a strict reader of our streams understands: the response head, HTTP's
 * chunks, SSE's lines. It knows nothing of the code that writes them, and accepts only
 * what docs/PROTOCOL.md says that they look like. */
#ifndef THREADCAST_SSE_READER_H
#define THREADCAST_SSE_READER_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct sse_event {
    const char *name; /* NULL: unnamed */
    const char *data; /* NUL-terminated */
    size_t len;
    const char *id; /* its own, NULL when it has none */
};

typedef void sse_event_fn(const struct sse_event *e, void *arg);

enum sse_stage {
    SSE_HEAD,
    SSE_SIZE,  /* of a chunk */
    SSE_BYTES, /* of a chunk, or of a stream without chunks */
    SSE_AFTER, /* CR LF behind a chunk's bytes */
    SSE_LAST,  /* CR LF behind the last chunk's size */
    SSE_ENDED,
};

struct sse_reader {
    enum sse_stage stage;
    bool chunked;
    size_t left;     /* bytes of this chunk */
    struct buf head; /* of the response, of a chunk */
    struct buf line; /* whose end has not come */
    struct buf name, data, id;
    bool has_name, has_data, has_id; /* of this block */
    size_t events;
    const char *broken; /* what was wrong with the bytes; nothing is read behind it */
    sse_event_fn *fn;
    void *arg;
};

/* With `head` a response head comes first and says whether there are chunks. */
void sse_reader_init(struct sse_reader *r, bool head, bool chunked, sse_event_fn *fn,
                     void *arg);
void sse_reader_fini(struct sse_reader *r);
void sse_reader_feed(struct sse_reader *r, const char *bytes, size_t len);

#endif
