/* Reads REDIS_URL. Stands at the start of a daemon; a text that is not understood stops
 * it, with words that never repeat the text, because it may hold the password. */
#include "common/redis.h"

#include "common/conf_value.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define REDIS_URL_MAX 2048
#define REDIS_DB_MAX 1000000
#define MASTER_NAME_MAX 128
#define PORT_REDIS 6379
#define PORT_SENTINEL 26379

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

static bool read_host(struct redis_url *url, const char *s, size_t len, int default_port,
                      struct buf *err)
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
    url->port = default_port;
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

static bool read_db(struct redis_url *url, const char *s, size_t len, struct buf *err)
{
    if (!number(s, len, REDIS_DB_MAX, &url->db)) {
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
    return !query || read_db(url, query + 4, strlen(query + 4), err);
}

/* [user[:password]@] in front of a host: *s and *len are moved behind it. */
static bool take_user(struct redis_url *url, const char **s, size_t *len, struct buf *err)
{
    const char *at = NULL;

    for (size_t i = 0; i < *len; i++)
        if ((*s)[i] == '@')
            at = *s + i; /* the last one */
    if (!at)
        return true;
    if (!read_user(url, *s, (size_t)(at - *s), err))
        return false;
    *len -= (size_t)(at + 1 - *s);
    *s = at + 1;
    return true;
}

/* [user[:password]@]host[:port][/db] */
static bool read_tcp(struct redis_url *url, const char *s, struct buf *err)
{
    size_t len = strcspn(s, "/?#");
    const char *rest = s + len;

    if (!take_user(url, &s, &len, err) || !read_host(url, s, len, PORT_REDIS, err))
        return false;
    if (rest[0] == '\0' || strcmp(rest, "/") == 0)
        return true;
    if (rest[0] != '/') {
        buf_str(err, "only /<database> may follow the host");
        return false;
    }
    return read_db(url, rest + 1, strlen(rest + 1), err);
}

/* --- sentinels ---------------------------------------------------------------------- */

static bool read_sentinels(struct redis_url *url, const char *s, size_t len,
                           struct buf *err)
{
    struct redis_sentinels *all = url->sentinels;

    for (;;) {
        const char *comma = memchr(s, ',', len);
        size_t one = comma ? (size_t)(comma - s) : len;
        if (all->count == REDIS_SENTINELS_MAX) {
            buf_printf(err, "more than %d sentinels", REDIS_SENTINELS_MAX);
            return false;
        }
        all->at[all->count].tls = url->tls;
        if (!read_host(&all->at[all->count++], s, one, PORT_SENTINEL, err))
            return false;
        if (!comma)
            return true;
        s += one + 1;
        len -= one + 1;
    }
}

/* What Sentinel itself takes as a name. */
static bool read_master(struct redis_url *url, const char *s, size_t len, struct buf *err)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789._-";

    if (len == 0 || len > MASTER_NAME_MAX || strspn(s, good) < len) {
        buf_str(err, "the name of the master is missing or has other characters than "
                     "A-Z a-z 0-9 . _ -");
        return false;
    }
    url->sentinels->master = strndup(s, len);
    if (!url->sentinels->master)
        buf_str(err, "no memory");
    return url->sentinels->master != NULL;
}

/* Sets `*field`, once. */
static bool read_value(char **field, const char *s, size_t len, struct buf *err)
{
    if (!*field && len > 0)
        *field = percent_decode(s, len);
    else
        len = 0;
    if (!len || !*field)
        buf_str(err, "a value behind the ? is empty, given twice or has a bad %-escape");
    return len && *field;
}

/* name=value&… */
static bool read_query(struct redis_url *login, struct redis_sentinels *all,
                       const char *s, struct buf *err)
{
    const struct {
        const char *name;
        char **field;
    } known[] = {{"sentinel-user=", &login->user},
                 {"sentinel-password=", &login->password},
                 {"sentinel-password-file=", &all->password_file}};

    while (*s) {
        size_t len = strcspn(s, "&"), i = 0, name_len = 0;
        for (; i < 3; i++) {
            name_len = strlen(known[i].name);
            if (len >= name_len && memcmp(s, known[i].name, name_len) == 0)
                break;
        }
        if (i == 3) {
            buf_str(err, "only sentinel-user=, sentinel-password= and "
                         "sentinel-password-file= may follow the ?");
            return false;
        }
        if (!read_value(known[i].field, s + name_len, len - name_len, err))
            return false;
        s += len + (s[len] == '&');
    }
    return true;
}

static bool copy_text(char **to, const char *from, struct buf *err)
{
    *to = from ? strdup(from) : NULL;
    if (from && !*to)
        buf_str(err, "no memory");
    return !from || *to;
}

/* All of them have the same user and password. */
static bool read_login(struct redis_sentinels *all, const char *query, struct buf *err)
{
    struct redis_url login = {0};
    bool ok = read_query(&login, all, query, err);

    if (ok && login.password && all->password_file) {
        buf_str(err, "sentinel-password and sentinel-password-file exclude each other");
        ok = false;
    }
    if (ok && login.user && !login.password && !all->password_file) {
        buf_str(err, "sentinel-user needs a sentinel-password");
        ok = false;
    }
    for (size_t i = 0; ok && i < all->count; i++)
        ok = copy_text(&all->at[i].user, login.user, err) &&
             copy_text(&all->at[i].password, login.password, err);
    redis_url_fini(&login);
    return ok;
}

/* [user[:password]@]host[:port],…/master[/db][?…] */
static bool read_sentinel(struct redis_url *url, const char *s, struct buf *err)
{
    size_t len = strcspn(s, "/?#");
    const char *name = s + len + (s[len] == '/');
    const char *end = name + strcspn(name, "/?#");

    url->sentinels = calloc(1, sizeof(*url->sentinels));
    if (!url->sentinels) {
        buf_str(err, "no memory");
        return false;
    }
    if (!take_user(url, &s, &len, err) || !read_sentinels(url, s, len, err) ||
        !read_master(url, name, (size_t)(end - name), err))
        return false;
    if (*end == '/') {
        size_t db_len = strcspn(end + 1, "?");
        if (db_len > 0 && !read_db(url, end + 1, db_len, err))
            return false;
        end += 1 + db_len;
    }
    if (*end && *end != '?') {
        buf_str(err, "only /<database> and ?… may follow the name of the master");
        return false;
    }
    return read_login(url->sentinels, *end ? end + 1 : end, err);
}

bool redis_url_load(struct redis_url *url, struct buf *err)
{
    struct redis_sentinels *all = url->sentinels;
    char *password;
    bool ok = true;

    if (!all || !all->password_file)
        return true;
    password = conf_value_text(all->password_file, err);
    if (!password) {
        buf_printf(err, ": sentinel-password-file %s", all->password_file);
        return false;
    }
    for (size_t i = 0; ok && i < all->count; i++) {
        free(all->at[i].password);
        ok = copy_text(&all->at[i].password, password, err);
    }
    explicit_bzero(password, strlen(password));
    free(password);
    return ok;
}

/* ------------------------------------------------------------------------------------ */

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
    else if (strncasecmp(text, "redis+sentinel://", 17) == 0)
        ok = read_sentinel(&url, text + 17, err);
    else if (strncasecmp(text, "rediss+sentinel://", 18) == 0)
        url.tls = true, ok = read_sentinel(&url, text + 18, err);
    else if (strncasecmp(text, "unix://", 7) == 0)
        ok = read_unix(&url, text + 7, err);
    else
        buf_str(err, "must begin with redis://, rediss://, unix://, redis+sentinel:// or "
                     "rediss+sentinel://");
    if (!ok) {
        redis_url_fini(&url);
        return false;
    }
    *ret_url = url;
    return true;
}

void redis_url_fini(struct redis_url *url)
{
    for (size_t i = 0; url->sentinels && i < url->sentinels->count; i++)
        redis_url_fini(&url->sentinels->at[i]);
    if (url->sentinels) {
        free(url->sentinels->master);
        free(url->sentinels->password_file);
        free(url->sentinels);
    }
    free(url->unix_path);
    free(url->host);
    free(url->user);
    free(url->password);
    memset(url, 0, sizeof(*url));
}
