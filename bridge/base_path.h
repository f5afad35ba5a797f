/* base_path: the path below which this bridge lives on somebody else's site, `/live`; ""
 * for the whole site. Pure. */
#ifndef THREADCAST_BASE_PATH_H
#define THREADCAST_BASE_PATH_H

#include "common/buf.h"
#include "common/event.h" /* struct span */

#include <stdbool.h>

#define BASE_PATH_MAX 128

/* "" or segments of A-Z a-z 0-9 . _ ~ -, each behind a slash, none of dots alone. false:
 * `err` says what is wrong. */
bool base_path_valid(const char *base, struct buf *err);

/* Takes the base away from a request's path: "/live/v1/x" is "/v1/x" then, and "/live" is
 * "". false: the path lies outside, and stays. */
bool base_path_strip(const char *base, struct span *path);

/* Is this the base itself, without the slash behind it? Never with "". */
bool base_path_is(const char *base, struct span path);

/* Where the base itself leads to, as a relative reference: "live/?a=b". It stays true
 * when a proxy has put something in front. */
void base_path_location(const char *base, struct span query, struct buf *out);

/* What cookies are bound to. */
const char *base_path_cookie(const char *base);

#endif
