/* url: see url.h and http.h. Everything of a target that a path could hide behind is
 * refused instead of normalised: two readers of one request never see two paths. */
#include "bridge/url.h"

#include "bridge/http.h"
#include "common/utf8.h"

#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* pchar of RFC 3986 without the percent sign */
static bool is_pchar(char c)
{
    return is_alnum(c) || (c != 0 && strchr("-._~!$&'()*+,;=:@", c) != NULL);
}

/* The byte that stands at s.at[i], decoded, and the length of how it is written; -1: a
 * bad escape or a byte that may not stand in a URL. */
static int url_byte(struct span s, size_t i, size_t *ret_len)
{
    int high, low;

    *ret_len = 1;
    if (s.at[i] != '%')
        return (unsigned char)s.at[i];
    if (s.len - i < 3)
        return -1;
    high = hex_digit(s.at[i + 1]);
    low = hex_digit(s.at[i + 2]);
    if (high < 0 || low < 0)
        return -1;
    *ret_len = 3;
    return high * 16 + low;
}

static bool segment_valid(struct span segment)
{
    size_t n = 0, dots = 0, step;

    for (size_t i = 0; i < segment.len; i += step) {
        int c = url_byte(segment, i, &step);
        if (c <= 0 || (step == 1 && !is_pchar((char)c)))
            return false;
        if (step == 3 && (c == '/' || c == '\\'))
            return false;
        n++;
        dots += c == '.';
    }
    return !(n == dots && (n == 1 || n == 2));
}

static bool path_valid(struct span path)
{
    const char *at = path.at, *end = path.at + path.len;

    if (path.len == 0 || *at != '/')
        return false;
    while (at < end) {
        const char *start = at + 1;
        const char *slash = memchr(start, '/', (size_t)(end - start));
        at = slash ? slash : end;
        if (at == start && slash) /* `//` */
            return false;
        if (!segment_valid((struct span){start, (size_t)(at - start)}))
            return false;
    }
    return true;
}

static bool query_valid(struct span query)
{
    size_t step;

    for (size_t i = 0; i < query.len; i += step) {
        int c = url_byte(query, i, &step);
        if (c <= 0)
            return false;
        if (step == 1 && !is_pchar((char)c) && c != '/' && c != '?')
            return false;
    }
    return true;
}

bool url_host_valid(struct span host)
{
    const char *end = host.at + host.len, *at = host.at;

    if (host.len == 0 || host.len > 255)
        return false;
    if (*at == '[') {
        const char *close = memchr(at, ']', host.len);
        if (!close || close == at + 1)
            return false;
        for (at++; at < close; at++)
            if (hex_digit(*at) < 0 && *at != ':' && *at != '.')
                return false;
        at++;
    } else {
        while (at < end && (is_alnum(*at) || *at == '-' || *at == '.' || *at == '_'))
            at++;
        if (at == host.at)
            return false;
    }
    if (at == end)
        return true;
    if (*at++ != ':' || at == end || end - at > 5)
        return false;
    for (; at < end; at++)
        if (*at < '0' || *at > '9')
            return false;
    return true;
}

bool url_split(struct span target, struct span *ret_authority, struct span *ret_path,
               struct span *ret_query)
{
    struct span authority = {NULL, 0}, path, query;
    const char *at = target.at, *end = target.at + target.len, *mark;

    if (target.len > 0 && *at != '/') {
        size_t scheme = target.len > 8 && strncasecmp(at, "https://", 8) == 0  ? 8
                        : target.len > 7 && strncasecmp(at, "http://", 7) == 0 ? 7
                                                                               : 0;
        const char *slash = scheme ? memchr(at + scheme, '/', target.len - scheme) : NULL;
        if (!slash)
            return false;
        authority = (struct span){at + scheme, (size_t)(slash - at) - scheme};
        if (!url_host_valid(authority))
            return false;
        at = slash;
    }
    mark = memchr(at, '?', (size_t)(end - at));
    path = (struct span){at, (size_t)((mark ? mark : end) - at)};
    query =
        mark ? (struct span){mark + 1, (size_t)(end - mark - 1)} : (struct span){end, 0};
    if (!path_valid(path) || !query_valid(query))
        return false;
    *ret_authority = authority;
    *ret_path = path;
    *ret_query = query;
    return true;
}

bool http_decode(struct span in, bool plus, char *out, size_t size, size_t *ret_len)
{
    size_t n = 0, step;

    for (size_t i = 0; i < in.len; i += step) {
        int c = url_byte(in, i, &step);
        if (plus && step == 1 && c == '+')
            c = ' ';
        if (c < ' ' || c == 0x7f || n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    if (n >= size || !utf8_valid(out, n))
        return false;
    out[n] = 0;
    if (ret_len)
        *ret_len = n;
    return true;
}

bool http_query_next(struct span query, size_t *pos, struct span *ret_name,
                     struct span *ret_value)
{
    while (*pos < query.len) {
        const char *at = query.at + *pos;
        size_t left = query.len - *pos;
        const char *amp = memchr(at, '&', left);
        size_t len = amp ? (size_t)(amp - at) : left;
        const char *equals = memchr(at, '=', len);
        size_t name = equals ? (size_t)(equals - at) : len;

        *pos += len + (amp != NULL);
        if (len == 0)
            continue;
        *ret_name = (struct span){at, name};
        *ret_value = equals ? (struct span){equals + 1, len - name - 1}
                            : (struct span){at + len, 0};
        return true;
    }
    return false;
}

int http_query_get(struct span query, const char *name, char *out, size_t size)
{
    struct span key, value;
    size_t pos = 0, len = strlen(name);
    int found = 0;

    *out = '\0';
    while (http_query_next(query, &pos, &key, &value)) {
        if (key.len != len || memcmp(key.at, name, len) != 0)
            continue;
        if (found || !http_decode(value, true, out, size, NULL))
            return -1;
        found = 1;
    }
    return found;
}
