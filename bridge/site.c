/* site: see the header. Two sites are the same when scheme, host and port are, however
 * they were spelt; what cannot be read is no site at all. */
#include "bridge/site.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool alpha(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static unsigned scheme_port(const char *scheme)
{
    if (!strcmp(scheme, "http"))
        return 80;
    return strcmp(scheme, "https") ? 0 : 443;
}

static bool copy_scheme(struct span s, char out[SITE_SCHEME_SIZE])
{
    if (s.len < 1 || s.len >= SITE_SCHEME_SIZE || !alpha(s.at[0]))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        if (!alpha(c) && !digit(c) && c != '+' && c != '-' && c != '.')
            return false;
        out[i] = lower(c);
    }
    out[s.len] = '\0';
    return true;
}

static bool copy_host(struct span s, char out[SITE_HOST_SIZE])
{
    bool v6 = s.len > 2 && s.at[0] == '[' && s.at[s.len - 1] == ']';
    unsigned char address[16];

    if (s.len < 1 || s.len >= SITE_HOST_SIZE)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        if (!c || (!alpha(c) && !digit(c) && !strchr(v6 ? "[:.]" : ".-_", c)))
            return false;
        out[i] = lower(c);
    }
    out[s.len] = '\0';
    if (!v6)
        return true;
    out[s.len - 1] = '\0';
    bool ok = inet_pton(AF_INET6, out + 1, address) == 1;
    out[s.len - 1] = ']';
    return ok;
}

/* The part behind the colon; nothing means the scheme's own. */
static bool read_port(struct span s, unsigned *ret)
{
    unsigned port = 0;

    if (s.len < 1 || s.len > 5)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!digit(s.at[i]))
            return false;
        port = port * 10 + (unsigned)(s.at[i] - '0');
    }
    *ret = port;
    return port > 0 && port <= 65535;
}

bool site_of_host(struct span host, const char *scheme, struct site *ret)
{
    size_t len = host.len;
    struct site s = {0};

    if (!host.at || !copy_scheme((struct span){scheme, strlen(scheme)}, s.scheme))
        return false;
    s.port = scheme_port(s.scheme);
    while (len && digit(host.at[len - 1]))
        len--;
    if (len && host.at[len - 1] == ':') {
        if (!read_port((struct span){host.at + len, host.len - len}, &s.port))
            return false;
        len--;
    } else {
        len = host.len;
    }
    if (!copy_host((struct span){host.at, len}, s.host))
        return false;
    *ret = s;
    return true;
}

bool site_parse(struct span text, struct site *ret)
{
    char scheme[SITE_SCHEME_SIZE];

    for (size_t i = 0; i + 3 <= text.len; i++) {
        if (memcmp(text.at + i, "://", 3) != 0)
            continue;
        return copy_scheme((struct span){text.at, i}, scheme) &&
               site_of_host((struct span){text.at + i + 3, text.len - i - 3}, scheme,
                            ret);
    }
    return false;
}

bool site_equal(const struct site *a, const struct site *b)
{
    return !strcmp(a->scheme, b->scheme) && !strcmp(a->host, b->host) &&
           a->port == b->port;
}

bool site_loopback(const struct site *s)
{
    return !strcmp(s->host, "localhost") || !strcmp(s->host, "127.0.0.1") ||
           !strcmp(s->host, "[::1]");
}

bool site_local(const struct site *s)
{
    unsigned char v4[4];

    return s->host[0] == '[' || !strchr(s->host, '.') ||
           inet_pton(AF_INET, s->host, v4) == 1;
}

bool site_list_next(const char *list, size_t *pos, struct span *ret_item)
{
    while (list && list[*pos]) {
        const char *at = list + *pos;
        size_t len = strcspn(at, ",");
        *pos += len + (at[len] == ',');
        while (len && *at == ' ') {
            at++;
            len--;
        }
        while (len && at[len - 1] == ' ')
            len--;
        if (len) {
            *ret_item = (struct span){at, len};
            return true;
        }
    }
    return false;
}
