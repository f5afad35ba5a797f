/* authorized: what an --authorize-url has said about one question. Pure: the answer's
 * status and body in, an identity or a word out. */
#ifndef THREADCAST_AUTHORIZED_H
#define THREADCAST_AUTHORIZED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct identity;

enum authorize_state {
    AUTHORIZE_UNASKED,
    AUTHORIZE_YES,
    AUTHORIZE_UNAUTHORIZED, /* 401: who is that? */
    AUTHORIZE_FORBIDDEN,    /* 403: known, and not allowed */
    AUTHORIZE_FAILED,       /* nothing that can be relied on: a transient refusal */
};

#define AUTHORIZED_BODY_MAX 16384 /* bytes of an answer */

/* 200 with {"sub", "read"?, "write"?, "exp"?} is a yes: *ret is new, *ret_until_ms when
 * the answer may last be used again, at most max_ms from now. 401 and 403 are refusals;
 * everything else, and a 200 that is not wholly understood, is a failure. */
enum authorize_state authorized_read(int status, const char *body, size_t len,
                                     int64_t now_ms, int64_t max_ms,
                                     struct identity **ret, int64_t *ret_until_ms);

#endif
