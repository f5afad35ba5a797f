/* utf8: the one decoder that buf, event and log stand on. It works on bytes it is given
 * and must never read behind their end. */
#include "common/utf8.h"

#include "common/buf.h"

static const char replacement[] = "\xEF\xBF\xBD";

/* utf8_length for what is broken or cut: how many bytes of the sequence at `s` are right
 * (as far as they are there), and how many it needs. An ASCII byte is 1 of 1, a byte that
 * begins nothing 0 of 1. */
static size_t sequence(const unsigned char *s, size_t len, size_t *ret_need)
{
    unsigned char lo = 0x80, hi = 0xBF;
    size_t need, n;

    *ret_need = 1;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    need = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (s[0] == 0xE0)
        lo = 0xA0; /* overlong */
    else if (s[0] == 0xED)
        hi = 0x9F; /* surrogates */
    else if (s[0] == 0xF0)
        lo = 0x90; /* overlong */
    else if (s[0] == 0xF4)
        hi = 0x8F; /* above U+10FFFF */
    *ret_need = need;
    for (n = 1; n < need && n < len; n++) {
        if (s[n] < lo || s[n] > hi)
            break;
        lo = 0x80;
        hi = 0xBF;
    }
    return n;
}

size_t utf8_invalid_length(const unsigned char *s, size_t len)
{
    size_t need, n;

    if (!len)
        return 0;
    n = sequence(s, len, &need);
    return n ? n : 1;
}

bool utf8_valid(const char *s, size_t len)
{
    const unsigned char *at = (const unsigned char *)s;

    for (size_t i = 0; i < len;) {
        size_t n = utf8_length(at + i, len - i);
        if (!n || !at[i])
            return false;
        i += n;
    }
    return true;
}

void utf8_repair(struct buf *out, const char *s, size_t len)
{
    const unsigned char *at = (const unsigned char *)s;
    size_t kept = 0, i = 0; /* from `kept` on nothing was written yet */

    while (i < len) {
        size_t n = at[i] ? utf8_length(at + i, len - i) : 0;
        if (n) {
            i += n;
            continue;
        }
        buf_add(out, s + kept, i - kept);
        buf_str(out, replacement);
        i += at[i] ? utf8_invalid_length(at + i, len - i) : 1;
        kept = i;
    }
    buf_add(out, s + kept, len - kept);
}

size_t utf8_whole(const char *s, size_t len)
{
    const unsigned char *at = (const unsigned char *)s;

    for (size_t back = 1; back <= 3 && back <= len; back++) {
        size_t need, n, start = len - back;
        if (at[start] >= 0x80 && at[start] <= 0xBF)
            continue; /* inside a character: its first byte stands before */
        n = sequence(at + start, back, &need);
        return n == back && n < need ? start : len;
    }
    return len;
}
