/* base64url: see the header. Used for tokens, tickets and the demo's key; it must never
 * accept two texts for the same bytes. */
#include "bridge/base64url.h"

#include <stdint.h>

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

bool base64url_decode(const char *in, size_t len, void *out, size_t size, size_t *ret_len)
{
    unsigned char *to = out;
    uint32_t bits = 0;
    unsigned held = 0; /* bits not yet given out */
    size_t n = 0;

    if (len % 4 == 1 || len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0) > size)
        return false;
    for (size_t i = 0; i < len; i++) {
        int d = digit(in[i]);
        if (d < 0)
            return false;
        bits = (bits << 6 | (uint32_t)d) & 0xfffu;
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[n++] = (unsigned char)(bits >> held);
        }
    }
    if (bits & ((1u << held) - 1))
        return false;
    *ret_len = n;
    return true;
}

void base64url_encode(struct buf *out, const void *data, size_t len)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *from = data;

    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)from[i] << 16;
        if (left > 1)
            bits |= (uint32_t)from[i + 1] << 8;
        if (left > 2)
            bits |= from[i + 2];
        char text[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        digits[bits >> 6 & 63], digits[bits & 63]};
        buf_add(out, text, left > 2 ? 4 : left + 1);
    }
}
