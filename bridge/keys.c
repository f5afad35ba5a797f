/* keys: signatures over OpenSSL's EVP. Whatever fails in here (no memory, an odd key, a
 * signature of the wrong length) is a refusal; nothing but the one success returns true.
 * Whether it was memory, common/memory knows. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "bridge/keys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ES256_HALF 32 /* bytes of r and of s */
#define ED25519_SIZE 64

enum key_kind { KEY_HS256, KEY_RS256, KEY_ES256, KEY_EDDSA };

struct key {
    atomic_size_t refs;
    enum key_kind kind;
    EVP_PKEY *pkey; /* NULL for HS256 */
    size_t secret_len;
    unsigned char secret[];
};

static struct key *key_new(enum key_kind kind, const void *secret, size_t len)
{
    struct key *k = calloc(1, sizeof(*k) + len);
    if (!k)
        return NULL;
    atomic_init(&k->refs, 1);
    k->kind = kind;
    k->secret_len = len;
    if (len)
        memcpy(k->secret, secret, len);
    return k;
}

struct key *key_ref(struct key *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void key_free(struct key *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
        return;
    EVP_PKEY_free(k->pkey);
    OPENSSL_cleanse(k->secret, k->secret_len);
    free(k);
}

struct key *key_from_secret(const void *secret, size_t len, struct buf *err)
{
    if (len < KEY_SECRET_MIN) {
        buf_printf(err, "the secret has %zu bytes; HS256 needs at least %d", len,
                   KEY_SECRET_MIN);
        return NULL;
    }
    if (len >= 10 && memmem(secret, len, "-----BEGIN", 10)) {
        buf_str(err, "the secret is a PEM key: give it as JWT_PUBLIC_KEY_FILE");
        return NULL;
    }
    struct key *k = key_new(KEY_HS256, secret, len);
    if (!k)
        buf_str(err, "out of memory");
    return k;
}

/* Never asks a terminal for a passphrase. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

/* The kind of a public key that we take, else the reason in `err`. */
static bool kind_of(EVP_PKEY *pkey, enum key_kind *ret_kind, struct buf *err)
{
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        int bits = EVP_PKEY_get_bits(pkey);
        if (bits < KEY_RSA_MIN_BITS || bits > KEY_RSA_MAX_BITS) {
            buf_printf(err, "the RSA key has %d bits; %d to %d are taken", bits,
                       KEY_RSA_MIN_BITS, KEY_RSA_MAX_BITS);
            return false;
        }
        *ret_kind = KEY_RS256;
        return true;
    }
    if (EVP_PKEY_is_a(pkey, "ED25519")) {
        *ret_kind = KEY_EDDSA;
        return true;
    }
    if (EVP_PKEY_is_a(pkey, "EC")) {
        char group[64] = "";
        if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
            (!strcmp(group, "prime256v1") || !strcmp(group, "P-256"))) {
            *ret_kind = KEY_ES256;
            return true;
        }
        buf_printf(err, "the EC key is on the curve %s; only P-256 is taken", group);
        return false;
    }
    buf_str(err, "the key is neither RSA, P-256 nor Ed25519");
    return false;
}

/* Is it mathematically what it claims to be (an RSA exponent of 1 signs anything)? */
static bool sound(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool ok = ctx && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* The same at once for RSA: what is wrong with a modulus is its owner's harm, an exponent
 * of 1 everybody's. */
static bool plausible(EVP_PKEY *pkey)
{
    BIGNUM *n = NULL, *e = NULL;
    bool ok;

    if (!EVP_PKEY_is_a(pkey, "RSA"))
        return sound(pkey);
    ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
         EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_odd(n) &&
         BN_is_odd(e) && !BN_is_one(e);
    BN_free(n);
    BN_free(e);
    return ok;
}

/* What can be said of the text alone. */
static bool pem_fits(const char *pem, size_t len, struct buf *err)
{
    const char *first = memmem(pem, len, "-----BEGIN", 10);
    if (memmem(pem, len, "PRIVATE KEY", 11)) {
        buf_str(err, "it holds a private key: give the public one "
                     "(openssl pkey -in key.pem -pubout)");
        return false;
    }
    if (!first || len > KEY_FILE_MAX) {
        buf_str(err, "it is not a PEM public key (-----BEGIN PUBLIC KEY-----)");
        return false;
    }
    if (memmem(first + 1, len - (size_t)(first + 1 - pem), "-----BEGIN", 10)) {
        buf_str(err, "it holds more than one key");
        return false;
    }
    return true;
}

/* Takes pkey. */
static struct key *from_pkey(EVP_PKEY *pkey, bool check(EVP_PKEY *pkey), struct buf *err)
{
    struct key *k = NULL;
    enum key_kind kind;

    if (!kind_of(pkey, &kind, err))
        goto fail;
    if (!check(pkey)) {
        buf_str(err, "the key is not a sound one");
        goto fail;
    }
    k = key_new(kind, NULL, 0);
    if (!k) {
        buf_str(err, "out of memory");
        goto fail;
    }
    k->pkey = pkey;
    return k;

fail:
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    return NULL;
}

struct key *key_from_pkey(EVP_PKEY *pkey, struct buf *err)
{
    return from_pkey(pkey, plausible, err);
}

struct key *key_from_pem(const void *pem, size_t len, struct buf *err)
{
    EVP_PKEY *pkey = NULL;
    BIO *bio;

    if (!pem_fits(pem, len, err))
        return NULL;
    bio = BIO_new_mem_buf(pem, (int)len);
    if (bio)
        pkey = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    ERR_clear_error();
    if (!pkey) {
        buf_str(err, "it is not a PEM public key (-----BEGIN PUBLIC KEY-----)");
        return NULL;
    }
    return from_pkey(pkey, sound, err);
}

bool key_is(const struct key *k, const EVP_PKEY *pkey)
{
    bool same = k->pkey && EVP_PKEY_eq(k->pkey, pkey) == 1;

    ERR_clear_error();
    return same;
}

const char *key_alg(const struct key *k)
{
    switch (k->kind) {
    case KEY_HS256:
        return "HS256";
    case KEY_RS256:
        return "RS256";
    case KEY_ES256:
        return "ES256";
    case KEY_EDDSA:
        return "EdDSA";
    }
    abort();
}

bool key_symmetric(const struct key *k)
{
    return k->kind == KEY_HS256;
}

bool key_mac(const struct key *k, const void *data, size_t len,
             unsigned char out[KEY_MAC_SIZE])
{
    unsigned size = 0;
    return k->kind == KEY_HS256 && k->secret_len >= KEY_SECRET_MIN &&
           HMAC(EVP_sha256(), k->secret, (int)k->secret_len, data, len, out, &size) &&
           size == KEY_MAC_SIZE;
}

/* OpenSSL wants DER where a token holds r and s one behind the other. Returns the length
 * of *ret_der (to be freed by OPENSSL_free), or 0. */
static size_t ecdsa_der(const unsigned char *raw, unsigned char **ret_der)
{
    BIGNUM *r = BN_bin2bn(raw, ES256_HALF, NULL);
    BIGNUM *s = BN_bin2bn(raw + ES256_HALF, ES256_HALF, NULL);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int len = 0;

    if (r && s && sig && ECDSA_SIG_set0(sig, r, s)) {
        r = s = NULL; /* the signature's now */
        *ret_der = NULL;
        len = i2d_ECDSA_SIG(sig, ret_der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

/* RS256 means PKCS #1 v1.5, which is what an EVP_PKEY of kind RSA starts with. */
static bool verify_public(EVP_PKEY *pkey, const EVP_MD *md, const void *data, size_t len,
                          const unsigned char *sig, size_t sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, pkey) == 1 &&
              EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static bool verify_ecdsa(EVP_PKEY *pkey, const void *data, size_t len,
                         const unsigned char *raw)
{
    unsigned char *der = NULL;
    size_t der_len = ecdsa_der(raw, &der);
    bool ok = der_len && verify_public(pkey, EVP_sha256(), data, len, der, der_len);
    if (der_len)
        OPENSSL_free(der);
    return ok;
}

bool key_verify(const struct key *k, const void *data, size_t len,
                const unsigned char *signature, size_t signature_len)
{
    unsigned char mac[KEY_MAC_SIZE];

    switch (k->kind) {
    case KEY_HS256:
        return signature_len == KEY_MAC_SIZE && key_mac(k, data, len, mac) &&
               CRYPTO_memcmp(mac, signature, KEY_MAC_SIZE) == 0;
    case KEY_RS256:
        return signature_len == (size_t)EVP_PKEY_get_size(k->pkey) &&
               verify_public(k->pkey, EVP_sha256(), data, len, signature, signature_len);
    case KEY_ES256:
        return signature_len == 2 * ES256_HALF &&
               verify_ecdsa(k->pkey, data, len, signature);
    case KEY_EDDSA:
        return signature_len == ED25519_SIZE &&
               verify_public(k->pkey, NULL, data, len, signature, signature_len);
    }
    return false;
}

struct key *key_derive(const struct key *k, const char *label)
{
    unsigned char mac[KEY_MAC_SIZE];
    struct key *derived = NULL;

    if (key_mac(k, label, strlen(label), mac))
        derived = key_new(KEY_HS256, mac, sizeof(mac));
    OPENSSL_cleanse(mac, sizeof(mac));
    return derived;
}

struct key *key_random(void)
{
    unsigned char bytes[KEY_MAC_SIZE];
    struct key *k = NULL;

    if (RAND_priv_bytes(bytes, sizeof(bytes)) == 1)
        k = key_new(KEY_HS256, bytes, sizeof(bytes));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return k;
}
