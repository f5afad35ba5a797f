/* utf8: what is a whole, valid character. Overlong forms, surrogates and everything above
 * U+10FFFF are invalid. */
#ifndef THREADCAST_UTF8_H
#define THREADCAST_UTF8_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* The length of the valid sequence at `s` (1 to 4), or 0. */
size_t utf8_length(const unsigned char *s, size_t len);
/* Where `s` is invalid: how many bytes one U+FFFD stands for (1 to 3). */
size_t utf8_invalid_length(const unsigned char *s, size_t len);

/* Valid UTF-8 without NUL? / appends with every invalid sequence and NUL replaced. */
bool utf8_valid(const char *s, size_t len);
void utf8_repair(struct buf *out, const char *s, size_t len);
/* The length of the longest prefix that does not end inside a character (for pieces of
 * a stream): the rest, at most 3 bytes, waits for more. */
size_t utf8_whole(const char *s, size_t len);

#endif
