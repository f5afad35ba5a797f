/* keys: a key that tokens are checked with. Its kind decides the algorithm; a token never
 * has a say. Immutable once made and counted, so reactors may share it. */
#ifndef THREADCAST_KEYS_H
#define THREADCAST_KEYS_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct evp_pkey_st;
struct key;

#define KEY_SECRET_MIN 32 /* bytes of an HS256 secret */
#define KEY_RSA_MIN_BITS 2048
#define KEY_RSA_MAX_BITS 8192 /* beyond, one token costs milliseconds */
#define KEY_FILE_MAX 32768    /* bytes of a key file */
#define KEY_MAC_SIZE 32

/* All return new, or NULL with the reason in `err`. Borrow their text. */
struct key *key_from_secret(const void *secret, size_t len, struct buf *err);
/* One public key: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA). Private keys are
 * refused: they have no business here. */
struct key *key_from_pem(const void *pem, size_t len, struct buf *err);
/* The same rules for a key that OpenSSL has read; but a modulus is not examined for small
 * factors, which takes 15 ms. Takes it, whatever comes of it. */
struct key *key_from_pkey(struct evp_pkey_st *pkey, struct buf *err);
struct key *key_ref(struct key *k);
void key_free(struct key *k); /* gives one reference up; the last wipes the secret */
/* Is it this public key? */
bool key_is(const struct key *k, const struct evp_pkey_st *pkey);

const char *key_alg(const struct key *k); /* "HS256", as a token's header spells it */
bool key_symmetric(const struct key *k);

/* false for anything but a good signature: also when memory or OpenSSL fail. */
bool key_verify(const struct key *k, const void *data, size_t len,
                const unsigned char *signature, size_t signature_len);
/* HMAC-SHA256; only of a symmetric key. */
bool key_mac(const struct key *k, const void *data, size_t len,
             unsigned char out[KEY_MAC_SIZE]);
/* A second secret that says nothing about the first: HMAC of a label. Returns new. */
struct key *key_derive(const struct key *k, const char *label);
struct key *key_random(void); /* 32 random bytes; returns new, or NULL */

#endif
