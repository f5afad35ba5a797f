/* keys: the vectors of RFC 7515 and 8037, which keys are taken, and that no other
 * signature than the right one ever is. */
#include "test_tokens.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define A_PAYLOAD                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"                   \
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define A1_KEY                                                                           \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z"  \
    "9CAow"

static const struct vector {
    const char *pem; /* NULL: the secret of A.1 */
    const char *alg, *input, *signature;
} vectors[] = {
    {NULL, "HS256", "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." A_PAYLOAD,
     "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
    {TEST_RSA_PEM, "RS256", "eyJhbGciOiJSUzI1NiJ9." A_PAYLOAD,
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5Y"
     "Kt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6x"
     "BArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6"
     "BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_I"
     "oypGlUPQGe77Rw"},
    {TEST_EC_PEM, "ES256", "eyJhbGciOiJFUzI1NiJ9." A_PAYLOAD,
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6"
     "NU1Q"},
    {TEST_ED_PEM, "EdDSA", "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM"
     "0KAg"},
};
#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static struct key *vector_key(const struct vector *v)
{
    struct buf err;
    struct key *key;
    char secret[64];
    size_t len;

    buf_init(&err);
    if (v->pem) {
        key = key_from_pem(v->pem, strlen(v->pem), &err);
    } else {
        assert_true(
            base64url_decode(A1_KEY, strlen(A1_KEY), secret, sizeof(secret), &len));
        key = key_from_secret(secret, len, &err);
    }
    assert_non_null(key);
    assert_int_equal(err.len, 0);
    buf_fini(&err);
    return key;
}

static size_t vector_signature(const struct vector *v, unsigned char out[512])
{
    size_t len;
    assert_true(base64url_decode(v->signature, strlen(v->signature), out, 512, &len));
    return len;
}

static void knows_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        unsigned char sig[512];
        size_t len = vector_signature(v, sig);
        struct key *key = vector_key(v);
        assert_string_equal(key_alg(key), v->alg);
        assert_true(key_verify(key, v->input, strlen(v->input), sig, len));
        key_free(key);
    }
}

static void refuses_every_flipped_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        unsigned char sig[512];
        size_t len = vector_signature(v, sig);
        struct key *key = vector_key(v);
        for (size_t bit = 0; bit < len * 8; bit++) {
            sig[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_false(key_verify(key, v->input, strlen(v->input), sig, len));
            sig[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        assert_true(key_verify(key, v->input, strlen(v->input), sig, len));
        key_free(key);
    }
}

static void refuses_every_other_length_and_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        unsigned char sig[600] = {0};
        size_t len = vector_signature(v, sig);
        struct key *key = vector_key(v);
        for (size_t n = 0; n < len + 8; n++)
            if (n != len)
                assert_false(key_verify(key, v->input, strlen(v->input), sig, n));
        assert_false(key_verify(key, v->input, strlen(v->input) - 1, sig, len));
        assert_false(key_verify(key, "", 0, sig, len));
        memset(sig, 0, len);
        assert_false(key_verify(key, v->input, strlen(v->input), sig, len));
        memset(sig, 0xff, len);
        assert_false(key_verify(key, v->input, strlen(v->input), sig, len));
        key_free(key);
    }
}

static void no_key_takes_anothers_signature(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        struct key *key = vector_key(&vectors[i]);
        for (size_t j = 0; j < VECTORS; j++) {
            unsigned char sig[512];
            size_t len = vector_signature(&vectors[j], sig);
            if (i != j)
                assert_false(key_verify(key, vectors[j].input, strlen(vectors[j].input),
                                        sig, len));
        }
        key_free(key);
    }
}

static void secrets_have_32_bytes(void **state)
{
    char secret[40] = "0123456789abcdef0123456789abcdef";
    struct buf err;
    (void)state;
    buf_init(&err);
    assert_null(key_from_secret(secret, 31, &err));
    assert_non_null(strstr(err.data, "at least 32"));
    assert_null(key_from_secret("", 0, &err));
    /* a PEM is public: as a secret it would let anybody sign */
    assert_null(key_from_secret(TEST_RSA_PEM, strlen(TEST_RSA_PEM), &err));
    struct key *key = key_from_secret(secret, 32, &err);
    assert_non_null(key);
    key_free(key);
    buf_fini(&err);
}

/* The PEM of a fresh key, public or private. Appends to out. */
static void make_pem(struct buf *out, EVP_PKEY *pkey, bool private)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_non_null(pkey);
    assert_non_null(bio);
    if (private)
        assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL),
                         1);
    else
        assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    long len = BIO_get_mem_data(bio, &data);
    buf_add(out, data, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
}

static void refuse_pem(const struct buf *pem, const char *word)
{
    struct buf err;
    buf_init(&err);
    assert_null(key_from_pem(pem->data, pem->len, &err));
    assert_non_null(err.data);
    if (!strstr(err.data, word))
        fail_msg("'%s' does not say '%s'", err.data, word);
    buf_fini(&err);
}

static void refuse_key(EVP_PKEY *pkey, bool private, const char *word)
{
    struct buf pem;
    buf_init(&pem);
    make_pem(&pem, pkey, private);
    refuse_pem(&pem, word);
    buf_fini(&pem);
}

static void refuse_text(const char *text, const char *word)
{
    struct buf pem;
    buf_init(&pem);
    buf_str(&pem, text);
    refuse_pem(&pem, word);
    buf_fini(&pem);
}

static void other_keys_are_refused(void **state)
{
    (void)state;
    refuse_key(EVP_RSA_gen(1024), false, "1024 bits");
    refuse_key(EVP_EC_gen("P-384"), false, "only P-256");
    refuse_key(EVP_EC_gen("secp256k1"), false, "only P-256");
    refuse_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), false, "neither");
    refuse_key(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), false, "neither");
    refuse_key(EVP_EC_gen("P-256"), true, "private");
    refuse_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), true, "private");
    refuse_text("hello", "not a PEM");
    refuse_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "not a PEM");
    refuse_text(TEST_EC_PEM TEST_ED_PEM, "more than one");
    refuse_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "not a PEM");
    refuse_text("-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\n"
                "DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END PUBLIC KEY-----\n",
                "not a PEM");
}

/* 2048 bits, exponent 1: every message is its own signature */
static void an_unsound_key_is_refused(void **state)
{
    struct buf pem, err;
    BIGNUM *one = BN_new(), *n = BN_new();
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *pkey = NULL;
    (void)state;
    assert_true(BN_one(one) && BN_rand(n, 2048, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD));
    assert_true(OSSL_PARAM_BLD_push_BN(bld, "n", n) &&
                OSSL_PARAM_BLD_push_BN(bld, "e", one));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params), 1);
    buf_init(&pem);
    buf_init(&err);
    make_pem(&pem, pkey, false);
    assert_null(key_from_pem(pem.data, pem.len, &err));
    assert_string_equal(err.data, "the key is not a sound one");
    buf_fini(&pem);
    buf_fini(&err);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    BN_free(one);
    BN_free(n);
}

static void derived_keys_differ(void **state)
{
    unsigned char mac[4][KEY_MAC_SIZE];
    struct buf err;
    (void)state;
    buf_init(&err);
    struct key *key = key_from_secret(TEST_SECRET, strlen(TEST_SECRET), &err);
    struct key *other[] = {key_derive(key, "a"), key_derive(key, "b"), key_random()};
    assert_true(key_mac(key, "x", 1, mac[0]));
    for (size_t i = 0; i < 3; i++) {
        assert_non_null(other[i]);
        assert_true(key_mac(other[i], "x", 1, mac[i + 1]));
        for (size_t j = 0; j <= i; j++)
            assert_memory_not_equal(mac[j], mac[i + 1], KEY_MAC_SIZE);
        key_free(other[i]);
    }
    key_free(key);
    key = key_from_pem(TEST_EC_PEM, strlen(TEST_EC_PEM), &err);
    assert_non_null(key);
    assert_false(key_mac(key, "x", 1, mac[0])); /* has nothing secret */
    assert_null(key_derive(key, "a"));
    key_free(key);
    buf_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_vectors),
        cmocka_unit_test(refuses_every_flipped_bit),
        cmocka_unit_test(refuses_every_other_length_and_text),
        cmocka_unit_test(no_key_takes_anothers_signature),
        cmocka_unit_test(secrets_have_32_bytes),
        cmocka_unit_test(other_keys_are_refused),
        cmocka_unit_test(an_unsound_key_is_refused),
        cmocka_unit_test(derived_keys_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
