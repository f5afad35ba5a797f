/* jsonscan: the inner loop of the fan-out path. Every byte of every event passes here
 * once, so text runs eight bytes at a time; it must never read at or behind `end`. */
#include "common/jsonscan.h"

#include "common/utf8.h"

#include <stdint.h>
#include <string.h>

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

void jsonscan_init(struct jsonscan *s, const char *text, size_t len, int max_depth)
{
    *s = (struct jsonscan){.at = text, .end = text + len, .max_depth = max_depth};
}

static inline void skip_space(struct jsonscan *s)
{
    for (; s->at < s->end && (unsigned char)*s->at <= ' '; s->at++) {
        if (*s->at == '\n' || *s->at == '\r')
            s->line_break = true;
        else if (*s->at != ' ' && *s->at != '\t')
            return;
    }
}

void jsonscan_space(struct jsonscan *s)
{
    skip_space(s);
}

/* Zero bits but the high one of each byte that is `c` (the lowest set one is exact). */
static inline uint64_t bytes_equal(uint64_t word, unsigned char c)
{
    uint64_t x = word ^ (ONES * c);

    return (x - ONES) & ~x & HIGHS;
}

/* The first byte that is not plain: a control, a quote, a backslash or not ASCII. */
static inline const char *skip_plain(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t word, odd;
        memcpy(&word, at, 8);
        odd = ((word - ONES * 0x20) & ~word & HIGHS) | (word & HIGHS) |
              bytes_equal(word, '"') | bytes_equal(word, '\\');
        if (odd) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            break;
#else
            return at + __builtin_ctzll(odd) / 8;
#endif
        }
        at += 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 &&
           *at != '"' && *at != '\\')
        at++;
    return at;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The length of the escape at `at`, 0 when it is none. Lone surrogates are grammar. */
static size_t escape_length(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        if (end - at < 6)
            return 0;
        return is_hex(at[2]) && is_hex(at[3]) && is_hex(at[4]) && is_hex(at[5]) ? 6 : 0;
    }
    return 0;
}

/* Characters that are not ASCII: they rarely come alone. NULL: invalid. */
static inline const char *skip_wide(const char *at, const char *end)
{
    while (at < end && (unsigned char)*at >= 0x80) {
        size_t n = utf8_length((const unsigned char *)at, (size_t)(end - at));
        if (!n)
            return NULL;
        at += n;
    }
    return at;
}

static bool scan_string(struct jsonscan *s, bool *ret_escaped)
{
    const char *at = s->at + 1;

    *ret_escaped = false;
    for (;;) {
        at = skip_plain(at, s->end);
        if (at == s->end)
            return false;
        if (*at == '"')
            break;
        if (*at == '\\') {
            size_t n = escape_length(at, s->end);
            if (!n)
                return false;
            at += n;
            *ret_escaped = true;
        } else {
            if ((unsigned char)*at < 0x20)
                return false;
            at = skip_wide(at, s->end);
            if (!at)
                return false;
        }
    }
    s->at = at + 1;
    return true;
}

static bool scan_digits(struct jsonscan *s)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > start;
}

static bool next_is(const struct jsonscan *s, char a, char b)
{
    return s->at < s->end && (*s->at == a || *s->at == b);
}

static bool scan_number(struct jsonscan *s)
{
    if (next_is(s, '-', '-'))
        s->at++;
    if (next_is(s, '0', '0'))
        s->at++;
    else if (!scan_digits(s))
        return false;
    if (next_is(s, '.', '.')) {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (next_is(s, 'e', 'E')) {
        s->at++;
        if (next_is(s, '+', '-'))
            s->at++;
        return scan_digits(s);
    }
    return true;
}

static bool scan_word(struct jsonscan *s, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return false;
    s->at += len;
    return true;
}

static enum jsonscan_result scan_value(struct jsonscan *s, int depth, bool *ret_escaped);

/* `"key" :` */
static bool scan_key(struct jsonscan *s, struct jsonscan_piece *ret_key)
{
    const char *start = s->at;

    if (!next_is(s, '"', '"') || !scan_string(s, &ret_key->escaped))
        return false;
    ret_key->at = start;
    ret_key->len = (size_t)(s->at - start);
    skip_space(s);
    if (!next_is(s, ':', ':'))
        return false;
    s->at++;
    skip_space(s);
    return true;
}

/* An object or an array, at its opening bracket. */
static enum jsonscan_result scan_container(struct jsonscan *s, int depth)
{
    bool object = *s->at == '{', escaped;
    char close = object ? '}' : ']';
    struct jsonscan_piece key;
    enum jsonscan_result r;

    if (depth > s->max_depth)
        return JSONSCAN_DEEP;
    s->at++;
    skip_space(s);
    if (next_is(s, close, close)) {
        s->at++;
        return JSONSCAN_OK;
    }
    for (;;) {
        if (object && !scan_key(s, &key))
            return JSONSCAN_BROKEN;
        r = scan_value(s, depth, &escaped);
        if (r != JSONSCAN_OK)
            return r;
        skip_space(s);
        if (!next_is(s, ',', close))
            return JSONSCAN_BROKEN;
        if (*s->at++ == close)
            return JSONSCAN_OK;
        skip_space(s);
    }
}

/* Recursion ends at `max_depth`. `depth` is that of the container around the value. */
static enum jsonscan_result scan_value(struct jsonscan *s, int depth, bool *ret_escaped)
{
    bool ok;

    *ret_escaped = false;
    if (s->at == s->end)
        return JSONSCAN_BROKEN;
    switch (*s->at) {
    case '{':
    case '[':
        return scan_container(s, depth + 1);
    case '"':
        ok = scan_string(s, ret_escaped);
        break;
    case 't':
        ok = scan_word(s, "true");
        break;
    case 'f':
        ok = scan_word(s, "false");
        break;
    case 'n':
        ok = scan_word(s, "null");
        break;
    default:
        ok = scan_number(s);
        break;
    }
    return ok ? JSONSCAN_OK : JSONSCAN_BROKEN;
}

static enum jsonscan_result scan_piece(struct jsonscan *s, int depth,
                                       struct jsonscan_piece *ret_value)
{
    const char *start = s->at;
    enum jsonscan_result r = scan_value(s, depth, &ret_value->escaped);

    ret_value->at = start;
    ret_value->len = (size_t)(s->at - start);
    skip_space(s);
    return r;
}

enum jsonscan_result jsonscan_value(struct jsonscan *s, struct jsonscan_piece *ret_value)
{
    skip_space(s);
    return scan_piece(s, 0, ret_value);
}

enum jsonscan_result jsonscan_member(struct jsonscan *s, struct jsonscan_piece *ret_key,
                                     struct jsonscan_piece *ret_value)
{
    char open = s->inside ? ',' : '{';

    if (!s->inside)
        skip_space(s);
    if (!next_is(s, open, s->inside ? '}' : '{'))
        return JSONSCAN_BROKEN;
    if (*s->at++ == '}') {
        skip_space(s);
        return JSONSCAN_END;
    }
    skip_space(s);
    if (!s->inside && next_is(s, '}', '}')) {
        s->at++;
        skip_space(s);
        return JSONSCAN_END;
    }
    s->inside = true;
    if (!scan_key(s, ret_key))
        return JSONSCAN_BROKEN;
    return scan_piece(s, 1, ret_value);
}
