/* sse: what the bridge itself writes on a stream: the response head, named events, the
 * last chunk; and the merging of two queued tokens. */
#ifndef THREADCAST_SSE_H
#define THREADCAST_SSE_H

#include "bridge/msg.h"

#include <stdbool.h>
#include <stdint.h>

/* All return new (refs 1), NULL: no memory. */

/* Status line and headers, then at once `retry: <ms>` and a comment line, without a blank
 * line behind them. Raw: never framed again. `ends`: soon, so that nobody sends
 * another request behind it. */
struct msg *sse_head(bool http10, bool ends, const char *headers, int64_t retry_ms);
/* event: <name>, data: <json>, retry, id last; blank line. id NULL: none. */
struct msg *sse_named(const char *name, const char *json, const char *id,
                      int64_t retry_ms);
struct msg *sse_last_chunk(void);
/* Two token messages as one; NULL also when they must not be merged. */
struct msg *sse_merge(const struct msg *a, const struct msg *b);

#endif
