/* msg: one piece of a stream as it goes over the wire: framed once, immutable, counted,
 * handed by reference to every reader's queue.
 *
 *     "5d\r\n"  "data: {…}\nid: 17-3\n\n"  "\r\n"
 *      head      the SSE block              tail        (HTTP/1.0 readers get the middle)
 */
#ifndef THREADCAST_MSG_H
#define THREADCAST_MSG_H

#include "common/event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct msg {
    uint32_t refs;              /* starts at 1, for its creator */
    uint32_t len;               /* all of data */
    uint32_t json_at, json_len; /* the event inside data; len 0: not an event */
    uint32_t run_at;            /* its runId, where there is one */
    uint8_t run_len, head;
    uint8_t type; /* enum event_type */
    struct event_id id;
    int64_t ts; /* Unix ms of the event; 0: none */
    char data[];
};

#define MSG_TAIL 2 /* CR LF behind a chunk */

/* An event: `data: <json>`, then `id: <id>` when it has one, then a blank line. Line
 * breaks between the JSON's tokens become spaces. `id_text` overrides the event's own id
 * (streams of several threads); NULL: the event's. Returns new (refs 1), or NULL. */
struct msg *msg_event(const char *json, size_t len, const struct event_view *view,
                      const char *id_text);

/* Something of the bridge's own, already in SSE's form: "event: bye\ndata: {}\n\n". */
struct msg *msg_text(const char *text, size_t len);

struct msg *msg_ref(struct msg *m);
void msg_unref(struct msg *m); /* NULL is fine */

static inline const char *msg_json(const struct msg *m)
{
    return m->data + m->json_at;
}

#endif
