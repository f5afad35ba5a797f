/* sse: see the header. Blocks are handed out where they lie; only what is not whole at
 * the end of what arrived is copied. */
#include "tests/faults/readers/sse.h"

#include "tests/faults/readers/mem.h"

#include <stdbool.h>
#include <string.h>

enum { BLOCK_MAX = 1 << 20 };

void sse_init(struct sse *s)
{
    *s = (struct sse){.retry_ms = -1};
}

void sse_fini(struct sse *s)
{
    free(s->kept);
    s->kept = NULL;
    s->len = s->size = 0;
}

static bool is_field(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);

    return len >= n + 2 && memcmp(line, name, n) == 0 && line[n] == ':' &&
           line[n + 1] == ' ';
}

static const char *set_once(struct piece *p, const char *line, size_t len, size_t skip)
{
    if (p->at)
        return "a field stands twice in a block";
    *p = (struct piece){line + skip, len - skip};
    return NULL;
}

static const char *read_retry(struct sse *s, const char *text, size_t len)
{
    int64_t ms = 0;

    if (len == 0 || len > 9)
        return "retry is no number";
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return "retry is no number";
        ms = ms * 10 + (text[i] - '0');
    }
    s->retry_ms = ms;
    return NULL;
}

static bool is_open(const struct block *b)
{
    return b->name.at || b->data.at || b->id.at;
}

/* One line that is not blank. */
static const char *line_read(struct sse *s, struct block *b, const char *line, size_t len)
{
    if (memchr(line, '\r', len))
        return "a carriage return in a line";
    if (line[0] == ':')
        return is_open(b) ? "a comment inside a block" : NULL;
    if (b->id.at)
        return is_field(line, len, "id") ? "a field stands twice in a block"
                                         : "the id is not the block's last line";
    if (is_field(line, len, "data"))
        return b->data.at ? "several data lines" : set_once(&b->data, line, len, 6);
    if (is_field(line, len, "id"))
        return b->data.at ? set_once(&b->id, line, len, 4) : "an id in front of the data";
    if (is_field(line, len, "retry"))
        return read_retry(s, line + 7, len - 7);
    if (is_field(line, len, "event"))
        return b->data.at ? "a name behind the data" : set_once(&b->name, line, len, 7);
    return "a line that is no known field";
}

static const char *block_end(const struct block *b, const struct sse_calls *calls,
                             void *arg)
{
    if (!is_open(b))
        return "a blank line without a block";
    if (!b->data.at)
        return "a block without data";
    calls->on_block(b, arg);
    return NULL;
}

/* Hands out what is whole; returns the bytes that were used up. */
static size_t scan(struct sse *s, const char *data, size_t len,
                   const struct sse_calls *calls, void *arg)
{
    struct block b = {0};
    size_t used = 0, at = 0;
    const char *end;

    while (at < len && (end = memchr(data + at, '\n', len - at))) {
        size_t line_len = (size_t)(end - data) - at;
        const char *why =
            line_len ? line_read(s, &b, data + at, line_len) : block_end(&b, calls, arg);
        at += line_len + 1;
        if (why)
            calls->on_broken(why, arg);
        if (!line_len)
            b = (struct block){0};
        if (!is_open(&b))
            used = at;
    }
    return used;
}

static void keep(struct sse *s, const char *data, size_t len)
{
    if (s->len + len > s->size) {
        s->size = s->len + len + 256;
        s->kept = mem_more(s->kept, s->size, 1);
    }
    memcpy(s->kept + s->len, data, len);
    s->len += len;
}

void sse_feed(struct sse *s, const char *data, size_t len, const struct sse_calls *calls,
              void *arg)
{
    if (!s->len) {
        size_t used = scan(s, data, len, calls, arg);
        if (used < len)
            keep(s, data + used, len - used);
    } else {
        keep(s, data, len);
        if (!memchr(data, '\n', len))
            return;
        size_t used = scan(s, s->kept, s->len, calls, arg);
        s->len -= used;
        memmove(s->kept, s->kept + used, s->len);
    }
    if (!s->len)
        sse_fini(s);
    else if (s->len > BLOCK_MAX) {
        calls->on_broken("a block of more than 1 MiB", arg);
        sse_fini(s);
    }
}
