/* cookie: reads and writes the session cookie. Never logs a value. */
#include "bridge/cookie.h"

#include <string.h>
#include <strings.h>

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
    while (s.len && blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len && blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

/* `name=value`, the value maybe in double quotes. false: another cookie. */
static bool is_session(struct span pair, struct span *ret_value)
{
    const size_t name = sizeof(COOKIE_NAME) - 1;

    pair = trim(pair);
    if (pair.len <= name || memcmp(pair.at, COOKIE_NAME, name) != 0 ||
        pair.at[name] != '=')
        return false;
    struct span value = {pair.at + name + 1, pair.len - name - 1};
    if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"') {
        value.at++;
        value.len -= 2;
    }
    *ret_value = value;
    return true;
}

static bool in_header(struct span header, struct span *ret_value)
{
    const char *end = header.at + header.len;

    for (const char *at = header.at; at < end;) {
        const char *semicolon = memchr(at, ';', (size_t)(end - at));
        const char *stop = semicolon ? semicolon : end;
        if (is_session((struct span){at, (size_t)(stop - at)}, ret_value))
            return true;
        at = stop + 1;
    }
    return false;
}

struct span cookie_session(const struct http_request *r)
{
    struct span value = {0};

    for (size_t i = 0; i < r->header_count; i++) {
        const struct http_header *h = &r->headers[i];
        if (h->name.len == 6 && !strncasecmp(h->name.at, "cookie", 6) &&
            in_header(h->value, &value))
            return value;
    }
    return (struct span){0};
}

void cookie_set(struct buf *out, const char *token, size_t len, int64_t max_age_s,
                bool secure, const char *path)
{
    buf_str(out, COOKIE_NAME "=");
    buf_add(out, token, len);
    buf_printf(out, "; Path=%s; Max-Age=%lld; HttpOnly; SameSite=Strict%s", path,
               (long long)max_age_s, secure ? "; Secure" : "");
}
