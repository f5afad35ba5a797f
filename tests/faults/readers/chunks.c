/* chunks: see the header. No extensions, no trailers, no bare LF: the bridge has none. */
#include "tests/faults/readers/chunks.h"

enum { DIGITS_MAX = 7 };

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static const char *size_byte(struct chunks *c, char byte)
{
    int digit = hex_of(byte);

    if (byte == '\r' && c->digits > 0) {
        c->state = CHUNKS_SIZE_LF;
        return NULL;
    }
    if (digit < 0)
        return "a chunk's size is no hexadecimal number";
    if (c->digits == DIGITS_MAX)
        return "a chunk's size is too long";
    c->left = c->left * 16 + (uint32_t)digit;
    c->digits++;
    return NULL;
}

static const char *expect(struct chunks *c, char byte, char wanted,
                          enum chunks_state next)
{
    if (byte != wanted)
        return "a chunk is not followed by CR LF";
    c->state = next;
    return NULL;
}

static const char *line_byte(struct chunks *c, char byte)
{
    switch (c->state) {
    case CHUNKS_SIZE:
        return size_byte(c, byte);
    case CHUNKS_SIZE_LF:
        return expect(c, byte, '\n', c->left ? CHUNKS_DATA : CHUNKS_END_CR);
    case CHUNKS_CR:
        return expect(c, byte, '\r', CHUNKS_LF);
    case CHUNKS_LF:
        c->digits = 0;
        c->left = 0;
        return expect(c, byte, '\n', CHUNKS_SIZE);
    case CHUNKS_END_CR:
        return expect(c, byte, '\r', CHUNKS_END_LF);
    case CHUNKS_END_LF:
        return expect(c, byte, '\n', CHUNKS_DONE);
    case CHUNKS_DATA:
    case CHUNKS_DONE:
        break;
    }
    return "bytes behind the last chunk";
}

const char *chunks_feed(struct chunks *c, const char *data, size_t len, chunks_fn *fn,
                        void *arg)
{
    while (len > 0) {
        size_t part = 1;
        if (c->state == CHUNKS_DATA) {
            part = len < c->left ? len : c->left;
            c->left -= (uint32_t)part;
            if (!c->left)
                c->state = CHUNKS_CR;
            fn(data, part, arg);
        } else {
            const char *why = line_byte(c, *data);
            if (why)
                return why;
        }
        data += part;
        len -= part;
    }
    return NULL;
}
