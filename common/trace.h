/* trace: two names that follow a request through everything it brings about: the id that
 * somebody's proxy or application gave it (`X-Request-Id`), and its place in a
 * distributed trace (W3C `traceparent`). Labels for people who look for something, never
 * believed for anything. */
#ifndef THREADCAST_TRACE_H
#define THREADCAST_TRACE_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_ID_MAX 128
#define TRACEPARENT_LEN 55

struct trace {
    char request_id[REQUEST_ID_MAX + 1]; /* "": none */
    char parent[TRACEPARENT_LEN + 1];    /* "": none */
};

/* [A-Za-z0-9._:/+=@-]{1,128} */
bool request_id_valid(const char *s, size_t len);
/* `00-<32 hex>-<16 hex>-<2 hex>`, in lower case, neither id of zeros alone. */
bool traceparent_valid(const char *s, size_t len);

/* Take what is valid; anything else, NULL too, is as if it were not there. */
void trace_set_id(struct trace *t, const char *s, size_t len);
void trace_set_parent(struct trace *t, const char *s, size_t len);

/* What the metadata of a message (a JSON object) says in its member `trace`. */
void trace_of_metadata(struct trace *ret, const char *metadata);

/* Appends `,"requestId":"…","traceparent":"…"`, as far as they are there. */
void trace_members(const struct trace *t, struct buf *out);

#endif
