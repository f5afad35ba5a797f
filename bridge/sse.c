/* sse: the bridge's own lines on a stream. An id always comes last in its block: with
 * real clients cut at every byte, id-first loses events and id-last does not. */
#include "bridge/sse.h"

#include "common/buf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_MERGE_MAX = 4096 }; /* merging copies: keep what is copied small */

/* A message whose bytes go out as they are, also to HTTP/1.0 readers. */
static struct msg *raw(const char *text, size_t len)
{
    struct msg *m = malloc(sizeof(*m) + len + MSG_TAIL);
    if (!m)
        return NULL;
    *m = (struct msg){.refs = 1, .len = (uint32_t)len};
    memcpy(m->data, text, len);
    return m;
}

struct msg *sse_head(bool http10, bool ends, const char *headers, int64_t retry_ms)
{
    struct buf first, head;
    buf_init(&first);
    buf_init(&head);
    buf_printf(&first, "retry: %" PRId64 "\n:threadcast\n", retry_ms);
    buf_printf(&head,
               "HTTP/1.%d 200 OK\r\n"
               "Content-Type: text/event-stream\r\n"
               "Cache-Control: no-cache, no-transform\r\n"
               "Connection: %s\r\n"
               "X-Accel-Buffering: no\r\n"
               "X-Content-Type-Options: nosniff\r\n"
               "%s%s\r\n",
               http10 ? 0 : 1, http10 || ends ? "close" : "keep-alive",
               headers ? headers : "", http10 ? "" : "Transfer-Encoding: chunked\r\n");
    if (http10) {
        buf_add(&head, first.data, first.len);
        buf_str(&head, "\r\n"); /* what the queue cuts off as the tail of a chunk */
    } else {
        buf_printf(&head, "%zx\r\n", first.len);
        buf_add(&head, first.data, first.len);
        buf_str(&head, "\r\n");
    }
    bool failed = first.failed || head.failed;
    struct msg *m = failed ? NULL : raw(head.data, head.len);
    buf_fini(&first);
    buf_fini(&head);
    return m;
}

struct msg *sse_named(const char *name, const char *json, const char *id,
                      int64_t retry_ms)
{
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "event: %s\ndata: %s\n", name, json);
    if (retry_ms > 0)
        buf_printf(&b, "retry: %" PRId64 "\n", retry_ms);
    if (id)
        buf_printf(&b, "id: %s\n", id);
    buf_str(&b, "\n");
    struct msg *m = b.failed ? NULL : msg_text(b.data, b.len);
    buf_fini(&b);
    return m;
}

struct msg *sse_last_chunk(void)
{
    return raw("0\r\n\r\n", 5);
}

struct msg *sse_merge(const struct msg *a, const struct msg *b)
{
    if (a->json_len + b->json_len > QUEUE_MERGE_MAX || event_id_zero(b->id))
        return NULL;
    struct event_view av, bv;
    if (event_check(msg_json(a), a->json_len, NULL, 0, &av) != EVENT_OK ||
        event_check(msg_json(b), b->json_len, NULL, 0, &bv) != EVENT_OK ||
        !event_mergeable(msg_json(a), a->json_len, &av, msg_json(b), b->json_len, &bv))
        return NULL;

    struct buf json;
    struct event_view view;
    struct msg *m = NULL;
    buf_init(&json);
    event_merge(&json, msg_json(a), a->json_len, &av, msg_json(b), b->json_len, &bv);
    if (!json.failed && event_check(json.data, json.len, NULL, 0, &view) == EVENT_OK)
        m = msg_event(json.data, json.len, &view, NULL);
    buf_fini(&json);
    return m;
}
