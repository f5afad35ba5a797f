/* cookie: the one cookie we set. It holds a token, no state of ours stands behind it. */
#ifndef THREADCAST_COOKIE_H
#define THREADCAST_COOKIE_H

#include "bridge/http.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define COOKIE_NAME "threadcast_session"
#define COOKIE_TOKEN_MAX 3800 /* browsers keep 4,096 bytes of name, value, attributes */

/* The session cookie's value among all Cookie headers; {NULL,0} when there is none. The
 * first of that name counts, which is the one with the longest path. Borrows. */
struct span cookie_session(const struct http_request *r);

/* Appends the value of a Set-Cookie header. max_age_s 0 takes the cookie away. */
void cookie_set(struct buf *out, const char *token, size_t len, int64_t max_age_s,
                bool secure, const char *path);

#endif
