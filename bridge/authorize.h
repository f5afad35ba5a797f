/* authorize: forward authorization, as proxies do it: who carries no token that we can
 * check is asked about at --authorize-url, with what their request carries. One for each
 * reactor, with its share of the limits. */
#ifndef THREADCAST_AUTHORIZE_H
#define THREADCAST_AUTHORIZE_H

#include <stdbool.h>

struct authorize;
struct bridge;
struct buf;
struct request;

struct authorize *authorize_new(struct bridge *b, struct buf *err); /* returns new */
void authorize_close(struct authorize *a); /* lets those who wait go; NULL is fine */
void authorize_free(struct authorize *a);  /* NULL is fine */

/* true: r->authorized says it now. false: the request waits, and r->again is called. */
bool authorize_ask(struct request *r);

#endif
