/* jwks: see the header. The kind of a key decides its algorithm; an `alg` in the set may
 * only agree. Symmetric keys (`oct`) and private ones are nothing that an issuer should
 * publish: they are not even read. */
#include "bridge/jwks.h"

#include "bridge/base64url.h"
#include "bridge/claims.h"
#include "bridge/keys.h"
#include "bridge/keyset.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

enum {
    MODULUS_MAX = KEY_RSA_MAX_BITS / 8 + 1, /* bytes, with a leading zero */
    EXPONENT_MAX = 8,
    COORDINATE = 32, /* of P-256 and of Ed25519 */
};

/* --- a key of OpenSSL's ---------------------------------------------------------------
 */

/* The bytes of a member. false: it is not there, not base64url, or larger than `size`. */
static bool member_bytes(const json_t *jwk, const char *name, unsigned char *out,
                         size_t size, size_t *ret_len)
{
    const json_t *value = json_object_get(jwk, name);

    return json_is_string(value) &&
           base64url_decode(json_string_value(value), json_string_length(value), out,
                            size, ret_len);
}

static EVP_PKEY *from_params(const char *kind, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY *pkey = NULL;

    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *read_rsa(const json_t *jwk)
{
    unsigned char n_bytes[MODULUS_MAX], e_bytes[EXPONENT_MAX];
    size_t n_len, e_len;
    EVP_PKEY *pkey = NULL;

    if (!member_bytes(jwk, "n", n_bytes, sizeof(n_bytes), &n_len) ||
        !member_bytes(jwk, "e", e_bytes, sizeof(e_bytes), &e_len))
        return NULL;
    BIGNUM *n = BN_bin2bn(n_bytes, (int)n_len, NULL);
    BIGNUM *e = BN_bin2bn(e_bytes, (int)e_len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (n && e && build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
        params = OSSL_PARAM_BLD_to_param(build);
    if (params)
        pkey = from_params("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return pkey;
}

static bool curve_is(const json_t *jwk, const char *name)
{
    const char *crv = json_string_value(json_object_get(jwk, "crv"));

    return crv && !strcmp(crv, name);
}

static EVP_PKEY *read_ec(const json_t *jwk)
{
    unsigned char point[1 + 2 * COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
    char group[] = "P-256";
    size_t x, y;

    if (!curve_is(jwk, group) || !member_bytes(jwk, "x", point + 1, COORDINATE, &x) ||
        !member_bytes(jwk, "y", point + 1 + COORDINATE, COORDINATE, &y) ||
        x != COORDINATE || y != COORDINATE)
        return NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };
    return from_params("EC", params);
}

static EVP_PKEY *read_okp(const json_t *jwk)
{
    unsigned char x[COORDINATE];
    size_t len;

    if (!curve_is(jwk, "Ed25519") || !member_bytes(jwk, "x", x, sizeof(x), &len) ||
        len != sizeof(x))
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, sizeof(x));
}

/* The only algorithm that a key of this type is for, and what reads it. */
static const struct key_type {
    const char *kty, *alg;
    EVP_PKEY *(*read)(const json_t *jwk);
} types[] = {
    {"RSA", "RS256", read_rsa},
    {"EC", "ES256", read_ec},
    {"OKP", "EdDSA", read_okp},
};

/* --- one entry ------------------------------------------------------------------------
 */

/* Absent, or exactly this text. */
static bool agrees(const json_t *jwk, const char *name, const char *text)
{
    const json_t *value = json_object_get(jwk, name);

    return !value || (json_is_string(value) && !strcmp(json_string_value(value), text));
}

/* Absent, or a list in which "verify" is. */
static bool verifies(const json_t *jwk)
{
    const json_t *ops = json_object_get(jwk, "key_ops");

    if (!ops)
        return true;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        if (op && !strcmp(op, "verify"))
            return true;
    }
    return false;
}

/* Its name; NULL for none. false: it has one that is no name. */
static bool read_kid(const json_t *jwk, const char **ret)
{
    const json_t *kid = json_object_get(jwk, "kid");

    *ret = json_string_value(kid);
    return !kid || (json_is_string(kid) && json_string_length(kid) >= 1 &&
                    json_string_length(kid) <= KID_MAX);
}

/* What it is a key for, when everything said of it allows us to use it; else NULL. */
static const struct key_type *usable_type(const json_t *jwk)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));

    if (!kty || json_object_get(jwk, "d") || !agrees(jwk, "use", "sig") || !verifies(jwk))
        return NULL;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (!strcmp(kty, types[i].kty))
            return agrees(jwk, "alg", types[i].alg) ? &types[i] : NULL;
    return NULL;
}

/* Takes pkey. Returns a reference, or NULL. */
static struct key *examine(EVP_PKEY *pkey, struct key *known)
{
    struct key *key = NULL;
    struct buf why;

    if (known && key_is(known, pkey)) {
        EVP_PKEY_free(pkey);
        return key_ref(known);
    }
    buf_init(&why);
    key = key_from_pkey(pkey, &why);
    buf_fini(&why);
    return key;
}

/* true: taken. A name that was there before, for the same algorithm, stays the first's:
 * which of two was meant is not ours to guess. */
static bool take_entry(const json_t *jwk, const struct keyset *known, struct keyset *set)
{
    const struct key_type *type = usable_type(jwk);
    const char *kid = NULL;
    struct key *key = NULL;
    EVP_PKEY *pkey;
    bool taken = false;

    if (!type || !read_kid(jwk, &kid) ||
        (kid && keyset_issued_get(set, kid, type->alg)) || keyset_issued_full(set))
        return false;
    pkey = type->read(jwk);
    if (pkey)
        key = examine(pkey, known ? keyset_issued_get(known, kid, type->alg) : NULL);
    if (key)
        taken = keyset_add_issued(set, kid, key);
    key_free(key);
    ERR_clear_error();
    return taken;
}

/* --- the set --------------------------------------------------------------------------
 */

bool jwks_read(const char *text, size_t len, const struct keyset *known,
               struct keyset *set, struct jwks_count *ret, struct buf *err)
{
    json_t *document = claims_object(text, len);
    const json_t *keys = json_object_get(document, "keys");
    size_t count = json_array_size(keys);

    if (!json_is_array(keys)) {
        buf_str(err, document ? "it has no list of \"keys\"" : "it is no JSON object");
        json_decref(document);
        return false;
    }
    *ret = (struct jwks_count){0};
    for (size_t i = 0; i < count && i < JWKS_ENTRIES_MAX; i++)
        ret->taken += take_entry(json_array_get(keys, i), known, set);
    ret->skipped = count - ret->taken;
    json_decref(document);
    return true;
}
