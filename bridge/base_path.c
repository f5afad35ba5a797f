/* base_path: see base_path.h. Compared as bytes: url.c has refused every other spelling
 * of a path that could hide one. */
#include "bridge/base_path.h"

#include <string.h>

static bool segment_valid(const char *at, size_t len)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz"
                               "0123456789._~-";

    return len > 0 && strspn(at, good) >= len && strspn(at, ".") < len;
}

bool base_path_valid(const char *base, struct buf *err)
{
    const char *at = base;

    if (*base == 0)
        return true;
    while (*at == '/' && segment_valid(at + 1, strcspn(at + 1, "/")))
        at += 1 + strcspn(at + 1, "/");
    if (*at == 0 && at - base <= BASE_PATH_MAX)
        return true;
    buf_printf(err,
               "must be like /live or /a/b: segments of A-Z a-z 0-9 . _ ~ -, each behind "
               "a slash, none at the end, at most %d bytes",
               BASE_PATH_MAX);
    return false;
}

bool base_path_strip(const char *base, struct span *path)
{
    size_t len = base ? strlen(base) : 0;

    if (len == 0)
        return true;
    if (path->len < len || memcmp(path->at, base, len) != 0 ||
        (path->len > len && path->at[len] != '/'))
        return false;
    path->at += len;
    path->len -= len;
    return true;
}

bool base_path_is(const char *base, struct span path)
{
    return base && *base && base_path_strip(base, &path) && path.len == 0;
}

void base_path_location(const char *base, struct span query, struct buf *out)
{
    buf_printf(out, "%s/", strrchr(base, '/') + 1);
    if (query.len > 0) {
        buf_char(out, '?');
        buf_add(out, query.at, query.len);
    }
}

const char *base_path_cookie(const char *base)
{
    return base && *base ? base : "/";
}
