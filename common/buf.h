/* buf: a growable byte buffer with a sticky `failed`: append as often as you like, ask
 * once at the end. `data` is always NUL-terminated behind `len` once anything was
 * appended. */
#ifndef THREADCAST_BUF_H
#define THREADCAST_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t len, cap;
    bool failed; /* an allocation failed or `max` was passed; the rest was ignored */
    size_t max;  /* bytes; 0: no limit */
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b);                /* keeps the memory, clears `failed` */
bool buf_reserve(struct buf *b, size_t more); /* room for `more` bytes behind len */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes: escapes `"` `\` and controls, replaces invalid UTF-8
 * and NUL (Postgres takes none) by U+FFFD, keeps everything else as it is. */
void buf_json(struct buf *b, const char *s, size_t len);
void buf_consume(struct buf *b, size_t len); /* drops `len` bytes at the front */
/* Returns owned memory ("" when nothing was appended) and leaves `b` empty; NULL when it
 * has failed. `ret_len` may be NULL. */
char *buf_take(struct buf *b, size_t *ret_len);

#endif
