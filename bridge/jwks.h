/* jwks: a JSON Web Key Set (RFC 7517), as issuers publish it, becomes keys. Pure: text
 * in, keys out. What is not a sound public key for RS256, ES256 or EdDSA signatures is
 * left out and counted; it must never make the others unusable. */
#ifndef THREADCAST_JWKS_H
#define THREADCAST_JWKS_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct keyset;

#define JWKS_ENTRIES_MAX 1000 /* that are looked at */

struct jwks_count {
    size_t taken, skipped; /* entries of the set; skipped are those beyond limits, too */
};

/* Adds its keys to `set` as issued ones, as many as it takes. How long the text may be is
 * for who fetches it to say. Of those that `known` (may be NULL) has already,
 * the same are taken, which saves their examination. false: it is no key set, or no
 * memory: `err` says so, and `set` is of no use. */
bool jwks_read(const char *text, size_t len, const struct keyset *known,
               struct keyset *set, struct jwks_count *ret, struct buf *err);

#endif
