/* sse: a stream's body cut into blocks, at any split, and held to what PROTOCOL.md
 * section 3 says of a block, which is more than the standard asks:
 *
 *   data: {…}          one line                  event: reset       a name that we know
 *   id: 17-3           last, or not at all       data: {…}
 *   (blank line)                                 retry: 2000        (perhaps)
 *                                                id: 17-3
 * `retry:` and comments stand between blocks too, without a blank line. */
#ifndef FARM_SSE_H
#define FARM_SSE_H

#include <stddef.h>
#include <stdint.h>

struct piece {
    const char *at; /* NULL: not there */
    size_t len;
};

struct block {
    struct piece name, data, id;
};

struct sse {
    char *kept; /* the beginning of what is not whole yet */
    size_t len, size;
    int64_t retry_ms; /* -1: none was said */
};

/* All of them may be called while bytes are fed; `why`: the stream broke its rules. */
struct sse_calls {
    void (*on_block)(const struct block *b, void *arg);
    void (*on_broken)(const char *why, void *arg);
};

void sse_init(struct sse *s);
void sse_fini(struct sse *s); /* also: what is not whole is forgotten */

void sse_feed(struct sse *s, const char *data, size_t len, const struct sse_calls *calls,
              void *arg);

#endif
