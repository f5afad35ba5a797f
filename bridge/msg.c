/* msg: frames an event for the wire, once for all its readers. Knows SSE's lines and
 * HTTP's chunks, no sockets. Must never put a byte of an event on a line of its own. */
#include "bridge/msg.h"

#include <stdlib.h>
#include <string.h>

static struct msg *msg_alloc(size_t block, char **ret_at)
{
    size_t head = 3, len; /* the chunk's length in hex, and its line break */
    struct msg *m;

    for (size_t left = block >> 4; left > 0; left >>= 4)
        head++;
    len = head + block + MSG_TAIL;
    m = malloc(sizeof(*m) + len);
    if (!m)
        return NULL;
    *m = (struct msg){.refs = 1, .len = (uint32_t)len, .head = (uint8_t)head};
    for (size_t i = head - 2, left = block; i-- > 0; left >>= 4)
        m->data[i] = "0123456789abcdef"[left & 15];
    memcpy(m->data + head - 2, "\r\n", 2);
    memcpy(m->data + len - 2, "\r\n", 2);
    *ret_at = m->data + head;
    return m;
}

static char *put(char *at, const char *s, size_t len)
{
    memcpy(at, s, len);
    return at + len;
}

static void blank_line_breaks(char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] == '\n' || at[i] == '\r')
            at[i] = ' ';
}

struct msg *msg_event(const char *json, size_t len, const struct event_view *view,
                      const char *id_text)
{
    char own[EVENT_ID_SIZE];
    size_t id_len = 0;
    if (id_text)
        id_len = strlen(id_text);
    else if (!event_id_zero(view->id))
        id_len = event_id_format(&view->id, own), id_text = own;

    char *at;
    size_t block = 6 + len + 1 + (id_len ? 4 + id_len + 1 : 0) + 1;
    struct msg *m = msg_alloc(block, &at);
    if (!m)
        return NULL;
    at = put(at, "data: ", 6);
    m->json_at = (uint32_t)(at - m->data);
    m->json_len = (uint32_t)len;
    at = put(at, json, len);
    if (view->has_line_break)
        blank_line_breaks(m->data + m->json_at, len);
    at = put(at, "\n", 1);
    if (id_len) {
        at = put(at, "id: ", 4);
        at = put(at, id_text, id_len);
        at = put(at, "\n", 1);
    }
    put(at, "\n", 1);

    m->type = (uint8_t)view->type;
    m->id = view->id;
    m->ts = view->ts;
    if (view->run_id.at && view->run_id.len <= UINT8_MAX) {
        m->run_at = m->json_at + (uint32_t)(view->run_id.at - json);
        m->run_len = (uint8_t)view->run_id.len;
    }
    return m;
}

struct msg *msg_text(const char *text, size_t len)
{
    char *at;
    struct msg *m = msg_alloc(len, &at);
    if (m)
        put(at, text, len);
    return m;
}

struct msg *msg_ref(struct msg *m)
{
    m->refs++;
    return m;
}

void msg_unref(struct msg *m)
{
    if (m && --m->refs == 0)
        free(m);
}
