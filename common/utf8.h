/* utf8: what is a whole, valid character. Overlong forms, surrogates and everything above
 * U+10FFFF are invalid. */
#ifndef THREADCAST_UTF8_H
#define THREADCAST_UTF8_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

static inline bool utf8_follows(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* The length of the valid sequence at `s` (1 to 4), or 0. Inline, because every byte of
 * every event that is not ASCII passes here. */
static inline size_t utf8_length(const unsigned char *s, size_t len)
{
    if (!len)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xE0)
        return len >= 2 && s[0] >= 0xC2 && utf8_follows(s[1]) ? 2 : 0;
    if (s[0] < 0xF0) {
        if (len < 3 || !utf8_follows(s[1]) || !utf8_follows(s[2]))
            return 0;
        if (s[0] == 0xE0) /* overlong */
            return s[1] >= 0xA0 ? 3 : 0;
        return s[0] != 0xED || s[1] < 0xA0 ? 3 : 0; /* surrogates */
    }
    if (len < 4 || s[0] > 0xF4 || !utf8_follows(s[1]) || !utf8_follows(s[2]) ||
        !utf8_follows(s[3]))
        return 0;
    if (s[0] == 0xF0) /* overlong */
        return s[1] >= 0x90 ? 4 : 0;
    return s[0] != 0xF4 || s[1] < 0x90 ? 4 : 0; /* above U+10FFFF */
}

/* Where `s` is invalid: how many bytes one U+FFFD stands for (1 to 3). */
size_t utf8_invalid_length(const unsigned char *s, size_t len);

/* Valid UTF-8 without NUL? / appends with every invalid sequence and NUL replaced. */
bool utf8_valid(const char *s, size_t len);
void utf8_repair(struct buf *out, const char *s, size_t len);
/* The length of the longest prefix that does not end inside a character (for pieces of
 * a stream): the rest, at most 3 bytes, waits for more. */
size_t utf8_whole(const char *s, size_t len);

#endif
