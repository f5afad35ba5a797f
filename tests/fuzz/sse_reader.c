/* sse_reader: one byte at a time, so that a cut can make no difference. */
#include "sse_reader.h"

#include <stdlib.h>
#include <string.h>

void sse_reader_init(struct sse_reader *r, bool head, bool chunked, sse_event_fn *fn,
                     void *arg)
{
    *r = (struct sse_reader){.chunked = chunked, .fn = fn, .arg = arg};
    r->stage = head ? SSE_HEAD : chunked ? SSE_SIZE : SSE_BYTES;
    buf_init(&r->head);
    buf_init(&r->line);
    buf_init(&r->name);
    buf_init(&r->data);
    buf_init(&r->id);
}

void sse_reader_fini(struct sse_reader *r)
{
    buf_fini(&r->head);
    buf_fini(&r->line);
    buf_fini(&r->name);
    buf_fini(&r->data);
    buf_fini(&r->id);
}

static void broken(struct sse_reader *r, const char *why)
{
    if (!r->broken)
        r->broken = why;
}

/* --- lines -------------------------------------------------------------------------- */

/* The value of `field` in the line, or NULL when the line is another field. */
static const char *field_of(const struct sse_reader *r, const char *field)
{
    size_t len = strlen(field);

    return r->line.len >= len && memcmp(r->line.data, field, len) == 0
               ? r->line.data + len
               : NULL;
}

static void take(struct sse_reader *r, struct buf *into, bool *has, const char *value)
{
    if (*has)
        broken(r, "a field is there twice");
    if (r->has_id)
        broken(r, "something stands behind an id");
    *has = true;
    buf_clear(into);
    buf_add(into, value, r->line.len - (size_t)(value - r->line.data));
    buf_str(into, "");
}

static void on_blank_line(struct sse_reader *r)
{
    struct sse_event e = {.name = r->has_name ? r->name.data : NULL,
                          .data = r->data.data,
                          .len = r->data.len,
                          .id = r->has_id ? r->id.data : NULL};
    if (!r->has_data) {
        broken(r, "a blank line without an event");
        return;
    }
    r->has_name = r->has_data = r->has_id = false;
    r->events++;
    r->fn(&e, r->arg);
}

static bool is_number(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

static void on_line(struct sse_reader *r)
{
    const char *value;

    buf_str(&r->line, "");
    if (memchr(r->line.data, '\r', r->line.len) || strlen(r->line.data) != r->line.len)
        broken(r, "CR or NUL in a line");
    else if (!r->line.len)
        on_blank_line(r);
    else if ((value = field_of(r, "data: ")))
        take(r, &r->data, &r->has_data, value);
    else if ((value = field_of(r, "id: ")))
        take(r, &r->id, &r->has_id, value);
    else if ((value = field_of(r, "event: "))) {
        if (r->has_data)
            broken(r, "a name behind its data");
        take(r, &r->name, &r->has_name, value);
    } else if ((value = field_of(r, "retry: "))) {
        if (!is_number(value) || r->has_id)
            broken(r, "an odd retry");
    } else if (r->line.data[0] != ':')
        broken(r, "a line that is no field of ours");
    else if (r->has_data || r->has_name)
        broken(r, "a comment inside an event");
    buf_clear(&r->line);
}

static void on_text(struct sse_reader *r, char c)
{
    if (c == '\n')
        on_line(r);
    else
        buf_char(&r->line, c);
}

/* --- framing --------------------------------------------------------------------------
 */

static bool has_line(const struct buf *head, const char *line)
{
    return strstr(head->data, line) != NULL;
}

static void on_head(struct sse_reader *r, char c)
{
    buf_char(&r->head, c);
    if (r->head.len < 4 || memcmp(r->head.data + r->head.len - 4, "\r\n\r\n", 4) != 0)
        return;
    r->chunked = has_line(&r->head, "\r\nTransfer-Encoding: chunked\r\n");
    if (strncmp(r->head.data, "HTTP/1.", 7) != 0 ||
        strncmp(r->head.data + 8, " 200 OK\r\n", 9) != 0 ||
        !has_line(&r->head, "\r\nContent-Type: text/event-stream\r\n") ||
        r->chunked != (r->head.data[7] == '1'))
        broken(r, "the response head");
    buf_clear(&r->head);
    r->stage = r->chunked ? SSE_SIZE : SSE_BYTES;
}

static void on_size(struct sse_reader *r, char c)
{
    buf_char(&r->head, c);
    if (c != '\n')
        return;
    size_t digits = strspn(r->head.data, "0123456789abcdef");
    if (!digits || digits > 8 || strcmp(r->head.data + digits, "\r\n") != 0 ||
        (digits > 1 && r->head.data[0] == '0'))
        broken(r, "the size of a chunk");
    r->left = strtoul(r->head.data, NULL, 16);
    r->stage = r->left ? SSE_BYTES : SSE_LAST;
    buf_clear(&r->head);
}

static void on_chunk_end(struct sse_reader *r, char c, enum sse_stage next)
{
    buf_char(&r->head, c);
    if (r->head.len < 2)
        return;
    if (strcmp(r->head.data, "\r\n") != 0)
        broken(r, "the end of a chunk");
    buf_clear(&r->head);
    r->stage = next;
}

void sse_reader_feed(struct sse_reader *r, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !r->broken; i++) {
        switch (r->stage) {
        case SSE_HEAD:
            on_head(r, bytes[i]);
            break;
        case SSE_SIZE:
            on_size(r, bytes[i]);
            break;
        case SSE_BYTES:
            on_text(r, bytes[i]);
            if (r->chunked && !--r->left)
                r->stage = SSE_AFTER;
            break;
        case SSE_AFTER:
            on_chunk_end(r, bytes[i], SSE_SIZE);
            break;
        case SSE_LAST:
            on_chunk_end(r, bytes[i], SSE_ENDED);
            break;
        case SSE_ENDED:
            broken(r, "bytes behind the last chunk");
            break;
        }
    }
}
