/* Every Nth allocation of OpenSSL and jansson fails, and with it whatever needed it: a
 * token may then be refused, but a bad one must never be accepted. */
#include "bridge/jwt.h"
#include "bridge/ticket.h"
#include "test_tokens.h"

#include <openssl/crypto.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static long fail_at; /* the allocation that fails, counting down; 0: none */
static long allocations;

static bool fails(void)
{
    allocations++;
    return fail_at && --fail_at == 0;
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, size);
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static void *json_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
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
    const char *why = NULL;
    bool ok = jwt_verify(&rules, c->text.data, c->text.len, TEST_NOW_MS, &id, &why);
    identity_unref(id);
    return ok;
}

static bool ticket_accepted(void *arg)
{
    const struct candidate *c = arg;
    struct identity *id = NULL;
    const char *why = NULL;
    bool ok = ticket_verify(c->key, c->text.data, c->text.len, TEST_NOW_MS, &id, &why);
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

static void a_good_token_at_worst_is_refused(void **state)
{
    struct candidate c = {.keys = sets[0]};
    (void)state;
    buf_init(&c.text);
    token_text(&c.text, keys[0], HS256_HEADER,
               "{\"sub\":\"ann\",\"exp\":1700003600,\"aud\":[\"a\",\"b\"],\"threadcast\":"
               "{\"read\":[\"a\",\"b*\"],\"write\":[\"c\"]}}");
    with_each_failure(token_accepted, &c, true);
    buf_fini(&c.text);
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
        cmocka_unit_test(a_good_token_at_worst_is_refused),
        cmocka_unit_test(bad_claims_are_never_accepted),
        cmocka_unit_test(tickets_likewise),
        cmocka_unit_test(a_bad_key_never_is),
    };
    if (!CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free))
        return 1;
    json_set_alloc_funcs(json_malloc, free);
    make_keys();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        keyset_unref(sets[i]);
        key_free(keys[i]);
    }
    return failed;
}
