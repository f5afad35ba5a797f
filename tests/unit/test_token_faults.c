/* Every Nth allocation fails, ours and, through common/memory, those of OpenSSL and
 * jansson, and with it whatever needed it: a bad token must never be accepted then, and a
 * good one never be called bad. */
#include "bridge/jwt.h"
#include "bridge/ticket.h"
#include "common/memory.h"
#include "test_request.h"
#include "test_tokens.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static long fail_at; /* the allocation that fails, counting down; 0: none */
static long allocations;

static bool fails(void)
{
    allocations++;
    return fail_at && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

static struct key *keys[4];
static struct keyset *sets[4];

static void make_keys(void)
{
    static const char *const pems[] = {TEST_RSA_PEM, TEST_EC_PEM, TEST_ED_PEM};
    struct buf err;
    buf_init(&err);
    keys[0] = key_from_secret(TEST_SECRET, strlen(TEST_SECRET), &err);
    for (int i = 0; i < 3; i++)
        keys[i + 1] = key_from_pem(pems[i], strlen(pems[i]), &err);
    for (int i = 0; i < 4; i++)
        sets[i] = keyset_of(keys[i]);
    buf_fini(&err);
}

static const char *said; /* of the last one that was refused */

/* Runs `accepts` with the 1st, 2nd, … allocation failing until none does any more. */
static void with_each_failure(bool accepts(void *arg), void *arg, bool may_accept)
{
    for (long n = 1;; n += 1 + n / 64) { /* every one of the first, then ever fewer */
        allocations = 0;
        fail_at = n;
        bool ok = accepts(arg);
        bool ran_out = fail_at == 0;
        fail_at = 0;
        if (ok && !may_accept)
            fail_msg("accepted when allocation %ld failed", n);
        if (!ok && may_accept && said != JWT_NO_MEMORY)
            fail_msg("a good one is '%s' when allocation %ld failed", said, n);
        if (!ran_out) {
            assert_int_equal(ok, may_accept); /* nothing failed: the plain verdict */
            return;
        }
    }
}

struct candidate {
    const struct keyset *keys; /* of a token */
    const struct key *key;     /* of a ticket */
    struct buf text;
};

static bool token_accepted(void *arg)
{
    const struct candidate *c = arg;
    struct jwt_rules rules = {.keys = c->keys};
    struct identity *id = NULL;
    bool ok = jwt_verify(&rules, c->text.data, c->text.len, TEST_NOW_MS, &id, &said);
    identity_unref(id);
    return ok;
}

static bool ticket_accepted(void *arg)
{
    const struct candidate *c = arg;
    struct identity *id = NULL;
    bool ok = ticket_verify(c->key, c->text.data, c->text.len, TEST_NOW_MS, &id, &said);
    identity_unref(id);
    return ok;
}

static void a_forged_token_is_never_accepted(void **state)
{
    static const char *const algs[] = {"HS256", "RS256", "ES256", "EdDSA"};
    static const size_t sizes[] = {32, 256, 64, 64};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct candidate c = {.keys = sets[i]};
        unsigned char signature[256];
        char header[32];
        int len = snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
        memset(signature, 0x55, sizeof(signature));
        buf_init(&c.text);
        base64url_encode(&c.text, header, (size_t)len);
        buf_char(&c.text, '.');
        base64url_encode(&c.text, GOOD_CLAIMS, strlen(GOOD_CLAIMS));
        buf_char(&c.text, '.');
        base64url_encode(&c.text, signature, sizes[i]);
        with_each_failure(token_accepted, &c, false);
        assert_true(allocations > 0);
        buf_fini(&c.text);
    }
}

/* r and s one behind the other, as a token has them. */
static size_t ecdsa_raw(const unsigned char *der, size_t len, unsigned char raw[64])
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    assert_non_null(sig);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
    ECDSA_SIG_free(sig);
    return 64;
}

static void sign(struct buf *text, EVP_PKEY *pkey, bool hashed, bool ecdsa)
{
    unsigned char signature[512], raw[64];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_non_null(ctx);
    assert_int_equal(
        EVP_DigestSignInit(ctx, NULL, hashed ? EVP_sha256() : NULL, NULL, pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len,
                                    (const unsigned char *)text->data, text->len),
                     1);
    EVP_MD_CTX_free(ctx);
    if (ecdsa)
        len = ecdsa_raw(signature, len, raw);
    buf_char(text, '.');
    base64url_encode(text, ecdsa ? raw : signature, len);
}

#define MANY_CLAIMS                                                                      \
    "{\"sub\":\"ann\",\"exp\":1700003600,\"aud\":[\"a\",\"b\"],\"jti\":\"j\","           \
    "\"threadcast\":{\"read\":[\"a\",\"b*\"],\"write\":[\"c\"]}}"

static void check_good(EVP_PKEY *pkey, const char *alg)
{
    struct buf err;
    char header[32];
    bool ecdsa = !strcmp(alg, "ES256"), hashed = strcmp(alg, "EdDSA") != 0;
    struct candidate c = {0};
    int len = snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", alg);

    assert_non_null(pkey);
    buf_init(&c.text);
    buf_init(&err);
    base64url_encode(&c.text, header, (size_t)len);
    buf_char(&c.text, '.');
    base64url_encode(&c.text, MANY_CLAIMS, strlen(MANY_CLAIMS));
    sign(&c.text, pkey, hashed, ecdsa);
    struct key *key = key_from_pkey(pkey, &err);
    struct keyset *set = keyset_of(key);
    assert_non_null(set);
    c.keys = set;
    with_each_failure(token_accepted, &c, true);
    keyset_unref(set);
    key_free(key);
    buf_fini(&c.text);
    buf_fini(&err);
}

static void a_good_token_is_never_called_bad(void **state)
{
    struct candidate c = {.keys = sets[0]};
    (void)state;
    buf_init(&c.text);
    token_text(&c.text, keys[0], HS256_HEADER, MANY_CLAIMS);
    with_each_failure(token_accepted, &c, true);
    buf_fini(&c.text);
    check_good(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), "RS256");
    check_good(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), "ES256");
    check_good(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "EdDSA");
}

static struct bridge_conf conf = {.jwt_secret = (char[]){TEST_SECRET}};
static struct bridge bridge = {.conf = &conf};

/* As its sender is told: 503, try again. */
static bool request_accepted(void *arg)
{
    struct request r;
    request_begin(&r, &bridge, HTTP_GET, "", "Authorization", arg, NULL);
    bool ok = auth_require(&r, true);
    said = answer.status == 503 && !strcmp(answer.code, "busy") ? JWT_NO_MEMORY
                                                                : answer.code;
    request_done(&r);
    return ok;
}

static void who_cannot_be_checked_is_asked_to_wait(void **state)
{
    struct bridge_conf open = {.auth = AUTH_MODE_NONE};
    struct buf text, err;
    (void)state;
    buf_init(&err);
    buf_init(&text);
    bridge.auth = auth_new(&conf, &err);
    assert_non_null(bridge.auth);
    buf_str(&text, "Bearer ");
    token_text(&text, keys[0], HS256_HEADER,
               "{\"sub\":\"ann\",\"exp\":9700003600,\"threadcast\":{\"read\":[\"a\"]}}");
    with_each_failure(request_accepted, text.data, true);
    auth_free(bridge.auth);
    bridge.auth = auth_new(&open, &err);
    with_each_failure(request_accepted, NULL, true);
    auth_free(bridge.auth);
    buf_fini(&text);
    buf_fini(&err);
}

static void bad_claims_are_never_accepted(void **state)
{
    static const char *const rows[] = {
        "{\"sub\":\"ann\"}",
        "{\"sub\":\"ann\",\"exp\":1}",
        "{\"sub\":\"ann\",\"exp\":1700003600,\"nbf\":1800000000}",
        "{\"sub\":\"\",\"exp\":1700003600}",
        "{\"sub\":\"ann\",\"sub\":\"bob\",\"exp\":1700003600}",
        "{\"sub\":\"ann\",\"exp\":1700003600,\"threadcast\":{\"read\":[\"a\",1]}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct candidate c = {.keys = sets[0]};
        buf_init(&c.text);
        token_text(&c.text, keys[0], HS256_HEADER, rows[i]);
        with_each_failure(token_accepted, &c, false);
        buf_fini(&c.text);
    }
}

static void tickets_likewise(void **state)
{
    static const char *const threads[] = {"t1", NULL};
    struct ticket t = {.sub = "ann",
                       .granted = threads,
                       .owned = threads,
                       .issued_ms = TEST_NOW_MS - 1,
                       .expires_ms = TEST_NOW_MS + 1000,
                       .jti = "j",
                       .by = "b"};
    struct candidate c = {.key = keys[0]};
    (void)state;
    buf_init(&c.text);
    assert_true(ticket_make(keys[0], &t, &c.text));
    with_each_failure(ticket_accepted, &c, true);
    c.text.data[c.text.len - 5] ^= 1;
    with_each_failure(ticket_accepted, &c, false);
    buf_fini(&c.text);
}

static bool pem_accepted(void *arg)
{
    struct buf err;
    buf_init(&err);
    struct key *key = key_from_pem(arg, strlen(arg), &err);
    key_free(key);
    buf_fini(&err);
    return key != NULL;
}

static void a_bad_key_never_is(void **state)
{
    (void)state;
    with_each_failure(pem_accepted,
                      (char[]){"-----BEGIN PUBLIC KEY-----\nAAAA\n"
                               "-----END PUBLIC KEY-----\n"},
                      false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forged_token_is_never_accepted),
        cmocka_unit_test(a_good_token_is_never_called_bad),
        cmocka_unit_test(who_cannot_be_checked_is_asked_to_wait),
        cmocka_unit_test(bad_claims_are_never_accepted),
        cmocka_unit_test(tickets_likewise),
        cmocka_unit_test(a_bad_key_never_is),
    };
    if (!memory_watch())
        return 1;
    make_keys();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        keyset_unref(sets[i]);
        key_free(keys[i]);
    }
    return failed;
}
