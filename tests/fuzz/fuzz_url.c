/* fuzz_url: a request's target: path, query, percent escapes, the host in it. What is
 * accepted is compared with a second reading of the rules, written the slow way. The
 * first byte says what the rest is: T a target, H a host, Q a query, D one value, first
 * plain and then with `+`. */
#include "fuzz.h"

#include "bridge/http.h"
#include "bridge/url.h"

#include <ctype.h>
#include <strings.h>

/* Decodes all of it, or says that it cannot be decoded. */
static bool decode(struct span s, bool plus, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c == '%') {
            char hex[3] = {0};
            if (i + 2 >= s.len || !isxdigit((unsigned char)s.at[i + 1]) ||
                !isxdigit((unsigned char)s.at[i + 2]))
                return false;
            memcpy(hex, s.at + i + 1, 2);
            c = (unsigned char)strtoul(hex, NULL, 16);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        buf_char(out, (char)c);
    }
    return true;
}

/* Only characters that RFC 3986 lets stand there as they are, and good escapes. */
static bool spelled(struct span s, const char *marks)
{
    struct buf plain;
    bool ok;

    buf_init(&plain);
    ok = decode(s, false, &plain) && (!plain.len || !memchr(plain.data, 0, plain.len));
    buf_fini(&plain);
    for (size_t i = 0; i < s.len && ok; i++) {
        unsigned char c = (unsigned char)s.at[i];
        ok = (c < 0x80 && isalnum(c)) || (c && strchr(marks, c));
    }
    return ok;
}

static bool segment_ok(struct span s, bool last)
{
    struct buf plain;
    bool ok;

    buf_init(&plain);
    buf_str(&plain, "");
    ok = decode(s, false, &plain) && (last || s.len > 0) &&
         strcmp(plain.data, ".") != 0 && strcmp(plain.data, "..") != 0 &&
         !strpbrk(plain.data, "/\\");
    buf_fini(&plain);
    return ok;
}

static bool path_ok(struct span path)
{
    size_t start = 1;

    if (!path.len || path.at[0] != '/' || !spelled(path, "/-._~!$&'()*+,;=:@%"))
        return false;
    for (size_t i = 1; i <= path.len; i++) {
        if (i < path.len && path.at[i] != '/')
            continue;
        if (!segment_ok((struct span){path.at + start, i - start}, i == path.len))
            return false;
        start = i + 1;
    }
    return true;
}

static bool target_ok(struct span t)
{
    char *text = fuzz_copy(t), *at = text;
    bool ok = !memchr(text, 0, t.len), absolute = *at != '/';

    if (absolute) {
        char *colon = strstr(at, "://");
        size_t scheme = colon ? (size_t)(colon - at) : 0;
        char *slash = colon ? strchr(colon + 3, '/') : NULL;
        ok = ok && slash &&
             ((scheme == 4 && strncasecmp(at, "http", 4) == 0) ||
              (scheme == 5 && strncasecmp(at, "https", 5) == 0)) &&
             url_host_valid((struct span){colon + 3, (size_t)(slash - colon) - 3});
        at = slash;
    }
    if (ok) {
        char *mark = strchr(at, '?');
        size_t path = mark ? (size_t)(mark - at) : strlen(at);
        ok = path_ok((struct span){at, path}) &&
             (!mark ||
              spelled((struct span){mark + 1, strlen(mark + 1)}, "/?-._~!$&'()*+,;=:@%"));
    }
    free(text);
    return ok;
}

static void check_value(struct span value, bool plus)
{
    char *out = malloc(value.len + 1);
    struct buf plain;
    size_t len = 0;
    bool good;

    MUST(out);
    buf_init(&plain);
    buf_str(&plain, "");
    good = decode(value, plus, &plain) && utf8_valid(plain.data, plain.len);
    for (size_t i = 0; i < plain.len; i++)
        good = good && (unsigned char)plain.data[i] >= ' ' && plain.data[i] != 0x7f;
    MUST(http_decode(value, plus, out, value.len + 1, &len) == good);
    if (good) {
        MUST(len == plain.len && memcmp(out, plain.data, len + 1) == 0);
        /* into less room than it needs it does not go */
        MUST(!len || !http_decode(value, plus, out, len, NULL));
    }
    buf_fini(&plain);
    free(out);
}

/* Walked, it is the query again but for empty parts; asked by name, it is the first. */
static void check_query(struct span query)
{
    struct span name, value;
    size_t pos = 0, bytes = 0, pairs = 0;
    int same = 0;

    while (http_query_next(query, &pos, &name, &value)) {
        MUST(name.at >= query.at && value.at + value.len <= query.at + query.len);
        MUST(!memchr(name.at, '=', name.len) && !memchr(name.at, '&', name.len));
        MUST(!memchr(value.at, '&', value.len));
        MUST(pos <= query.len);
        bytes += name.len + value.len;
        pairs++;
        same += name.len == 5 && memcmp(name.at, "since", 5) == 0;
        check_value(value, true);
    }
    MUST(pos == query.len && bytes <= query.len && pairs <= query.len);
    char out[64];
    int found = http_query_get(query, "since", out, sizeof(out));
    MUST(same == 0 ? found == 0 : same == 1 ? found != 0 : found == -1);
    if (found == 1)
        MUST(strlen(out) < sizeof(out) && utf8_valid(out, strlen(out)));
}

static void check_target(struct span target)
{
    struct span authority, path, query;
    bool ok = url_split(target, &authority, &path, &query);

    MUST(ok == target_ok(target));
    if (!ok)
        return;
    MUST(path.at[0] == '/' && !memchr(path.at, '?', path.len));
    MUST(query.at + query.len == target.at + target.len);
    MUST(query.at == path.at + path.len + (query.at > path.at + path.len));
    MUST(authority.at ? authority.at + authority.len == path.at : path.at == target.at);
    check_value(path, false);
    check_query(query);
}

static void check_host(struct span host)
{
    bool ok = url_host_valid(host);

    if (ok) {
        MUST(host.len > 0 && host.len <= 255);
        for (size_t i = 0; i < host.len; i++)
            MUST(isalnum((unsigned char)host.at[i]) || strchr("-._:[]", host.at[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    char kind = (char)fuzz_byte(&in);
    struct span rest = {(const char *)in.at, in.len};
    char *copy = malloc(rest.len ? rest.len : 1); /* its own end, for the sanitizer */

    MUST(copy);
    if (rest.len)
        memcpy(copy, rest.at, rest.len);
    rest.at = copy;
    if (kind == 'T')
        check_target(rest);
    else if (kind == 'H')
        check_host(rest);
    else if (kind == 'Q')
        check_query(rest);
    else if (kind == 'D')
        check_value(rest, false), check_value(rest, true);
    free(copy);
    return 0;
}
