/* jwt: JSON Web Tokens in the compact form, checked with the keys that there are. Pure:
 * bytes and the time in, an identity or a stable word out. */
#ifndef THREADCAST_JWT_H
#define THREADCAST_JWT_H

#include "bridge/claims.h"

struct key;
struct keyset;

#define JWT_MAX 4096 /* bytes of a token */

/* The word when there was no memory to look at it: it may well be good. */
extern const char JWT_NO_MEMORY[];
/* The word for a token that names a key of the issuer's which is not here (yet). */
extern const char JWT_UNKNOWN_KEY[];

struct jwt_rules {
    const struct keyset *keys; /* each decides its algorithm */
    bool issuer;               /* some of them come from an issuer, who may have more */
    struct claims_rules claims;
};

/* true: *ret is a new identity. false: *ret_why is one of "too_long" "malformed"
 * "algorithm" "critical" "signature" "dates" "expired" "not_yet" "audience" "issuer"
 * "subject" "grants" "jti", JWT_UNKNOWN_KEY or JWT_NO_MEMORY; *ret is untouched. */
bool jwt_verify(const struct jwt_rules *rules, const char *token, size_t len,
                int64_t now_ms, struct identity **ret, const char **ret_why);

/* Appends a token with this payload (JSON text), signed HS256. false: no memory, or a
 * key of another kind. */
bool jwt_sign(const struct key *key, const char *claims, size_t len, struct buf *out);

#endif
