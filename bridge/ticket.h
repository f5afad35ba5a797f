/* ticket: for an EventSource on another origin, which can send neither a header nor our
 * cookie: signed, stored nowhere, reads the threads it names and nothing else. The text
 * is t1.<base64url of JSON>.<base64url of HMAC-SHA256 over what stands before the dot> */
#ifndef THREADCAST_TICKET_H
#define THREADCAST_TICKET_H

#include "bridge/identity.h"

struct key;

#define TICKET_MAX 3072 /* bytes of its text: it must fit into a request line */

/* What a ticket is made from. Lists are NULL-terminated and borrowed. */
struct ticket {
    const char *sub;
    const char *const *granted; /* threads by the token's grants */
    const char *const *owned;   /* threads that `sub` owns: asked again at every use */
    int64_t issued_ms, expires_ms;
    int64_t end_ms;     /* new ones are made until then; 0: none are */
    int64_t from_ms;    /* for revocations: when `sub` was let in; -1: nobody said */
    const char *jti;    /* of the token it is made from; NULL: none */
    const char *by;     /* the service that made it for `sub`; NULL: it made its own */
    int64_t by_from_ms; /* when that one's token was issued */
};

/* Appends the text. false: no memory, or longer than TICKET_MAX. */
bool ticket_make(const struct key *key, const struct ticket *t, struct buf *out);

/* true: *ret is a new identity with `ticket` set. false: *ret_why is "malformed",
 * "signature", "expired", or JWT_NO_MEMORY. */
bool ticket_verify(const struct key *key, const char *text, size_t len, int64_t now_ms,
                   struct identity **ret, const char **ret_why);

#endif
