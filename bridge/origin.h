/* origin: the Origin and Host rules of contract section 6, and the CORS answer. */
#ifndef THREADCAST_ORIGIN_H
#define THREADCAST_ORIGIN_H

#include <stdbool.h>

struct buf;
struct request;
struct site;

/* Every request passes here before its route. false: already answered (403 for a foreign
 * Origin on an unsafe method, 400/403 for a Host not allowed under --auth none, 204 for
 * a preflight). */
bool origin_admit(struct request *r);

/* Adds Access-Control-Allow-Origin / -Credentials / Vary to r->extra when the request
 * carries an allowed Origin; also before a stream begins. */
void origin_cors(struct request *r);

/* Is a cookie to be Secure? Not where the visitor's browser would throw it away then: on
 * plain HTTP on this machine, or under a --public-origin that begins with http:. When a
 * proxy hides what the browser sees, --public-origin says it, and in doubt it is. */
bool origin_secure(const struct request *r);

/* What the visitor's browser calls us, by Host and what trusted proxies forward; what an
 * Origin is compared with. false: it cannot be read. */
bool origin_own(const struct request *r, struct site *ret);

/* Does the request's Host name this machine and not a stranger's domain that was pointed
 * at it (DNS rebinding)? An address, a name without dots, the public or an allowed
 * origin's host, or what a trusted proxy passes on. For what serves visitors nobody
 * vouches for. */
bool origin_host_known(const struct request *r);

/* A comma separated list of origins (`https://example.com`), no `*`, no `null`; NULL and
 * "" are fine. false: `err` says what is wrong. */
bool origin_list_valid(const char *list, struct buf *err);

#endif
