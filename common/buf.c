/* buf: where everything that is built byte by byte is built. A builder that failed stays
 * failed, so callers append without looking and ask once; it must never write past `max`
 * nor leave `data` without its NUL. */
#include "common/buf.h"

#include "common/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 64 };

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

bool buf_reserve(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : BUF_FIRST, need = b->len + more + 1;
    char *data;

    if (b->failed)
        return false;
    if (more >= SIZE_MAX / 2 - b->len || (b->max && b->len + more > b->max)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    while (cap < need)
        cap *= 2;
    if (b->max && cap > b->max + 1)
        cap = b->max + 1;
    data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    if (!b->data)
        data[0] = '\0';
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    if (!buf_reserve(b, len))
        return;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (!buf_reserve(b, (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
}

/* The escape of one byte that cannot stand in a JSON string as it is. */
static void add_escape(struct buf *b, unsigned char c)
{
    static const char short_form[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (size_t i = 0; i < sizeof(short_form) - 1; i += 2) {
        if ((unsigned char)short_form[i] == c) {
            char escape[2] = {'\\', short_form[i + 1]};
            buf_add(b, escape, 2);
            return;
        }
    }
    buf_printf(b, "\\u%04x", c);
}

void buf_json(struct buf *b, const char *s, size_t len)
{
    const unsigned char *at = (const unsigned char *)s;
    size_t kept = 0, i = 0; /* from `kept` on nothing was written yet */

    if (!buf_reserve(b, len + 2))
        return;
    buf_char(b, '"');
    while (i < len) {
        size_t n = at[i] >= 0x20 ? utf8_length(at + i, len - i) : 0;
        if (n && at[i] != '"' && at[i] != '\\') {
            i += n;
            continue;
        }
        buf_add(b, s + kept, i - kept);
        if (at[i] && at[i] < 0x80) {
            add_escape(b, at[i++]);
        } else {
            buf_str(b, "\xEF\xBF\xBD");
            i += at[i] ? utf8_invalid_length(at + i, len - i) : 1;
        }
        kept = i;
    }
    buf_add(b, s + kept, len - kept);
    buf_char(b, '"');
}

void buf_consume(struct buf *b, size_t len)
{
    if (len > b->len)
        len = b->len;
    if (!len)
        return;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    char *data;

    if (!buf_reserve(b, 0))
        return NULL;
    data = b->data;
    if (ret_len)
        *ret_len = b->len;
    *b = (struct buf){.max = b->max};
    return data;
}
