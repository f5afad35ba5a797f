/* Reads REDIS_URL. Stands at the start of a daemon; a text that is not understood stops
 * it, with words that never repeat the text, because it may hold the password. */
#include "common/redis.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define REDIS_URL_MAX 2048
#define REDIS_DB_MAX 1000000

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

/* Returns new, or NULL: a bad escape, a NUL, no memory. */
static char *percent_decode(const char *s, size_t len)
{
    char *out = strndup(s, len), *from = out, *to = out;

    if (!out)
        return NULL;
    while (*from) {
        if (*from != '%') {
            *to++ = *from++;
            continue;
        }
        int high = hex_digit(from[1]);
        int low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low < 0 || (high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        *to++ = (char)(high << 4 | low);
        from += 3;
    }
    *to = '\0';
    return out;
}

static bool number(const char *s, size_t len, long max, int *ret_value)
{
    long value = 0;

    if (len == 0 || len > 9)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        value = value * 10 + (s[i] - '0');
    }
    if (value > max)
        return false;
    *ret_value = (int)value;
    return true;
}

static bool read_user(struct redis_url *url, const char *s, size_t len, struct buf *err)
{
    const char *colon = memchr(s, ':', len);
    size_t user_len = colon ? (size_t)(colon - s) : len;

    if (user_len > 0) {
        url->user = percent_decode(s, user_len);
        if (!url->user)
            goto fail;
    }
    if (colon) {
        url->password = percent_decode(colon + 1, len - user_len - 1);
        if (!url->password)
            goto fail;
    }
    return true;
fail:
    buf_str(err, "user or password has a bad %-escape");
    return false;
}

static bool read_host(struct redis_url *url, const char *s, size_t len, struct buf *err)
{
    const char *port = NULL;
    size_t host_len = len;

    if (len > 0 && s[0] == '[') {
        const char *end = memchr(s, ']', len);
        if (!end) {
            buf_str(err, "the host has no closing bracket");
            return false;
        }
        s++;
        len--;
        host_len = (size_t)(end - s);
        if (host_len + 1 < len && end[1] != ':') {
            buf_str(err, "unexpected text behind the host");
            return false;
        }
        port = host_len + 1 < len ? end + 1 : NULL;
    } else {
        port = memchr(s, ':', len);
        host_len = port ? (size_t)(port - s) : len;
    }
    if (host_len == 0 || host_len > 253) {
        buf_str(err, "the host is missing or too long");
        return false;
    }
    url->port = 6379;
    if (port && (!number(port + 1, len - (size_t)(port + 1 - s), 65535, &url->port) ||
                 url->port == 0)) {
        buf_str(err, "the port is not a number from 1 to 65535");
        return false;
    }
    url->host = percent_decode(s, host_len);
    if (!url->host)
        buf_str(err, "the host has a bad %-escape");
    return url->host != NULL;
}

static bool read_db(struct redis_url *url, const char *s, struct buf *err)
{
    if (!number(s, strlen(s), REDIS_DB_MAX, &url->db)) {
        buf_str(err, "the database is not a number");
        return false;
    }
    return true;
}

/* [user[:password]@]/path[?db=n] */
static bool read_unix(struct redis_url *url, const char *s, struct buf *err)
{
    const char *path = strchr(s, '/'), *query;
    struct sockaddr_un un;

    if (!path || (path != s && path[-1] != '@')) {
        buf_str(err, "the path of the socket is missing or not absolute");
        return false;
    }
    if (path != s && !read_user(url, s, (size_t)(path - 1 - s), err))
        return false;
    query = strchr(path, '?');
    url->unix_path = percent_decode(path, query ? (size_t)(query - path) : strlen(path));
    if (!url->unix_path || strlen(url->unix_path) >= sizeof(un.sun_path)) {
        buf_printf(err, "the path of the socket is malformed or longer than %zu bytes",
                   sizeof(un.sun_path) - 1);
        return false;
    }
    if (query && strncmp(query, "?db=", 4) != 0) {
        buf_str(err, "only ?db=<number> may follow the path");
        return false;
    }
    return !query || read_db(url, query + 4, err);
}

/* [user[:password]@]host[:port][/db] */
static bool read_tcp(struct redis_url *url, const char *s, struct buf *err)
{
    size_t len = strcspn(s, "/?#");
    const char *rest = s + len;
    const char *at = NULL;

    for (size_t i = 0; i < len; i++)
        if (s[i] == '@')
            at = s + i; /* the last one */
    if (at) {
        if (!read_user(url, s, (size_t)(at - s), err))
            return false;
        len -= (size_t)(at + 1 - s);
        s = at + 1;
    }
    if (!read_host(url, s, len, err))
        return false;
    if (rest[0] == '\0' || strcmp(rest, "/") == 0)
        return true;
    if (rest[0] != '/') {
        buf_str(err, "only /<database> may follow the host");
        return false;
    }
    return read_db(url, rest + 1, err);
}

bool redis_url_parse(const char *text, struct redis_url *ret_url, struct buf *err)
{
    struct redis_url url = {0};
    bool ok = false;

    if (strlen(text) > REDIS_URL_MAX)
        buf_printf(err, "longer than %d bytes", REDIS_URL_MAX);
    else if (strncasecmp(text, "redis://", 8) == 0)
        ok = read_tcp(&url, text + 8, err);
    else if (strncasecmp(text, "rediss://", 9) == 0)
        url.tls = true, ok = read_tcp(&url, text + 9, err);
    else if (strncasecmp(text, "unix://", 7) == 0)
        ok = read_unix(&url, text + 7, err);
    else
        buf_str(err, "must begin with redis://, rediss:// or unix://");
    if (!ok) {
        redis_url_fini(&url);
        return false;
    }
    *ret_url = url;
    return true;
}

void redis_url_fini(struct redis_url *url)
{
    free(url->unix_path);
    free(url->host);
    free(url->user);
    free(url->password);
    memset(url, 0, sizeof(*url));
}
