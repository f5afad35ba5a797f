/* url: the target of a request: its form, its characters, what may stand in a path. With
 * http_decode and http_query_* of http.h, which url.c implements. Pure. */
#ifndef THREADCAST_URL_H
#define THREADCAST_URL_H

#include "common/event.h" /* struct span */

#include <stdbool.h>

/* Splits origin-form (`/path?query`) and absolute-form (`http://host/path?query`; then
 * the authority is set, else {NULL,0}). false: asterisk and authority form, characters
 * RFC 3986 does not have, bad escapes, %00, %2f, %5c, an empty segment (`//`), a dot
 * segment (also escaped). A trailing slash is allowed here. */
bool url_split(struct span target, struct span *ret_authority, struct span *ret_path,
               struct span *ret_query);

/* host, host:port, [v6]:port; no user, not empty. */
bool url_host_valid(struct span host);

#endif
