/* event: one JSON object as contract section 2 (docs/PROTOCOL.md) has it: checked once,
 * in one pass over the bytes, without allocation; encoded by the worker; neighbouring
 * tokens merged. The fan-out path knows events only through this file and forwards the
 * bytes it was given. */
#ifndef THREADCAST_EVENT_H
#define THREADCAST_EVENT_H

#include "common/buf.h"
#include "common/names.h"
#include "common/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_MAX_BYTES (256u * 1024)
/* What the publish script puts in (`"id":"…",`): events are built this much smaller. */
#define EVENT_ID_ROOM 64
#define EVENT_MAX_DEPTH 32
#define EVENT_MERGE_MAX_BYTES (64u * 1024)

enum event_type {
    EVENT_OTHER, /* a bare object of an application's own: no known type */
    EVENT_TOKEN,
    EVENT_STATUS,
    EVENT_DELTA,
    EVENT_DONE,
    EVENT_ERROR,
};

struct span {
    const char *at; /* NULL: not there */
    size_t len;
};

/* What one pass over an event found. Spans borrow the event's bytes. For a string the
 * span is what stands between the quotes, still escaped; for `content` it is the whole
 * JSON value (with its quotes, when it is a string). */
struct event_view {
    enum event_type type;
    struct event_id id; /* zero: none */
    struct span type_name, thread_id, run_id, agent_id, message_id, content;
    struct span id_span; /* the value with its quotes */
    struct span ts_span; /* the digits */
    int64_t ts;          /* Unix ms; 0: none */
    int64_t attempt;     /* 0: none */
    bool has_line_break; /* CR or LF between tokens: must be blanked before framing */
};

enum event_check {
    EVENT_OK,
    EVENT_TOO_LARGE,
    EVENT_NOT_JSON,   /* syntax, bad UTF-8, NUL, a raw control character in a string */
    EVENT_NOT_OBJECT, /* valid JSON, but not an object */
    EVENT_TOO_DEEP,
    EVENT_DUPLICATE_KEY, /* at top level, among the fields of an event */
    EVENT_BAD_FIELD,     /* a known field of the wrong type, a malformed id */
    EVENT_WRONG_THREAD,  /* claims another thread */
};

/* Checks `json` as it arrives on the channel of `thread_id` (exact length). Missing
 * fields are accepted (a bare event). `ret_view` is written only on EVENT_OK.
 * Escapes inside the strings threadId, runId, agentId, messageId, type and id, and in
 * any key at top level, are refused (BAD_FIELD): names never need them, so comparing
 * bytes is comparing names. In an application's own object (EVENT_OTHER) only `type` and
 * `threadId` are ours: other fields there may be anything, and are then not in the view.
 */
enum event_check event_check(const char *json, size_t len, const char *thread_id,
                             size_t thread_id_len, struct event_view *ret_view);
const char *event_check_text(enum event_check c); /* a few words for logs, counters */

/* Strict check that an *outside* event may be published: known type, content string or
 * object, threadId equal or absent, ts integer or absent, id allowed and removed.
 * Appends the event to `out`: without id and without space between tokens, with threadId
 * and ts put in. `ret_view` borrows `json`, not `out`; its id is zero. Unless EVENT_OK
 * nothing is appended. */
enum event_check event_normalize(const char *json, size_t len, const char *thread_id,
                                 int64_t now_ms, struct buf *out,
                                 struct event_view *ret_view);

/* The names on every event of a run. Borrows. */
struct event_run {
    const char *thread_id, *run_id, *agent_id, *message_id;
    int64_t attempt;
};

/* Appends one event of a run, without id: {"type":…,"threadId":…,"content":…,"ts":…,
 * "runId":…,"agentId":…,"messageId":…,"attempt":…}. `text` of a token is any bytes:
 * it becomes a JSON string (invalid UTF-8 and NUL replaced by U+FFFD). */
void event_token(struct buf *out, const struct event_run *run, const char *text,
                 size_t len, int64_t ts_ms);
/* `content_json` is a JSON value the caller has built or checked. */
void event_json(struct buf *out, const struct event_run *run, enum event_type type,
                const char *content_json, size_t len, int64_t ts_ms);

/* May b be merged into a (both tokens, string contents, everything but id, ts and
 * content byte-equal, together at most EVENT_MERGE_MAX_BYTES)? a and b are whole events
 * with their views. */
bool event_mergeable(const char *a, size_t a_len, const struct event_view *av,
                     const char *b, size_t b_len, const struct event_view *bv);
/* Appends the merged event: contents concatenated, the last id and ts. */
void event_merge(struct buf *out, const char *a, size_t a_len,
                 const struct event_view *av, const char *b, size_t b_len,
                 const struct event_view *bv);

#endif
