/* jwt: shapes, algorithms and signatures; the hostile ones. */
#include "test_verdict.h"

#include <openssl/hmac.h>
#include <stdio.h>

static void a_good_token_says_who(void **state)
{
    struct identity *id = NULL;
    const char *why = NULL;
    struct buf b;
    (void)state;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, GOOD_CLAIMS);
    assert_true(jwt_verify(&rules, b.data, b.len, TEST_NOW_MS, &id, &why));
    assert_string_equal(id->sub, "ann");
    assert_int_equal(id->expires_ms, 1700003600000);
    assert_int_equal(id->life_ms, 4600000);
    assert_false(id->everything || id->ticket || id->read || id->write || id->owned);
    identity_unref(id);
    buf_fini(&b);
}

static void our_own_tokens_are_good(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    assert_true(jwt_sign(secret, GOOD_CLAIMS, strlen(GOOD_CLAIMS), &b));
    assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "");
    buf_fini(&b);
}

/* RFC 7515 A.1: signed well, but nobody's (no sub), and it expired in 2011 */
static void the_rfc_example_is_signed_well(void **state)
{
    static const char token[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                                "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkz"
                                "ODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
                                "dBjftJeZ4CVP-mB92K27uhbUJU"
                                "1p1r_wW1gFWFOEjXk";
    char bytes[64];
    size_t len;
    struct buf err;
    (void)state;
    buf_init(&err);
    const char *text =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4"
        "hcgUuTwjAzZr1Z9CAow";
    assert_true(base64url_decode(text, strlen(text), bytes, sizeof(bytes), &len));
    assert_string_equal(verdict_by(key_from_secret(bytes, len, &err), token,
                                   strlen(token), 1300819379000),
                        "subject");
    assert_string_equal(
        verdict_by(key_from_secret(bytes, len, &err), token, strlen(token), TEST_NOW_MS),
        "expired");
    assert_string_equal(verdict_of(token, strlen(token), TEST_NOW_MS), "signature");
    buf_fini(&err);
}

static void the_token_has_no_say_in_the_algorithm(void **state)
{
    static const char *const algs[] = {
        "none",   "None",   "NONE",         "nOnE",    "",      "HS384",
        "HS512",  "RS256",  "ES256",        "EdDSA",   "PS256", "hs256",
        "HS256 ", " HS256", "HS256\\u0020", "Ed25519", "dir",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        char header[64];
        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
        assert_string_equal(verdict(header, GOOD_CLAIMS), "algorithm");
    }
    assert_string_equal(verdict("{}", GOOD_CLAIMS), "algorithm");
    assert_string_equal(verdict("{\"ALG\":\"HS256\"}", GOOD_CLAIMS), "algorithm");
    assert_string_equal(verdict("{\"alg\":null}", GOOD_CLAIMS), "algorithm");
    assert_string_equal(verdict("{\"alg\":1}", GOOD_CLAIMS), "algorithm");
    assert_string_equal(verdict("{\"alg\":[\"HS256\"]}", GOOD_CLAIMS), "algorithm");
    assert_string_equal(verdict("{\"alg\":\"HS\\u003256\"}", GOOD_CLAIMS), "");
}

static void none_without_signature_is_refused(void **state)
{
    static const char *const tails[] = {"", "AA", "bm9uZQ"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf b;
        buf_init(&b);
        base64url_encode(&b, "{\"alg\":\"none\"}", 14);
        buf_char(&b, '.');
        base64url_encode(&b, GOOD_CLAIMS, strlen(GOOD_CLAIMS));
        buf_printf(&b, ".%s", tails[i]);
        assert_string_not_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "");
        buf_fini(&b);
    }
}

/* The public key is public: whoever signs with its text must not get in. */
static void a_pem_is_no_secret(void **state)
{
    static const char *const pems[] = {TEST_RSA_PEM, TEST_EC_PEM, TEST_ED_PEM};
    struct buf err;
    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < 3; i++) {
        unsigned char mac[KEY_MAC_SIZE];
        unsigned size;
        for (int trim = 0; trim < 2; trim++) {
            struct buf b;
            buf_init(&b);
            base64url_encode(&b, HS256_HEADER, strlen(HS256_HEADER));
            buf_char(&b, '.');
            base64url_encode(&b, GOOD_CLAIMS, strlen(GOOD_CLAIMS));
            HMAC(EVP_sha256(), pems[i], (int)strlen(pems[i]) - trim,
                 (unsigned char *)b.data, b.len, mac, &size);
            buf_char(&b, '.');
            base64url_encode(&b, mac, size);
            assert_string_equal(verdict_by(key_from_pem(pems[i], strlen(pems[i]), &err),
                                           b.data, b.len, TEST_NOW_MS),
                                "algorithm");
            buf_fini(&b);
        }
    }
    buf_fini(&err);
}

static void extensions_are_refused(void **state)
{
    (void)state;
    assert_string_equal(verdict("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", GOOD_CLAIMS),
                        "critical");
    assert_string_equal(verdict("{\"alg\":\"HS256\",\"crit\":[]}", GOOD_CLAIMS),
                        "critical");
    assert_string_equal(verdict("{\"alg\":\"HS256\",\"crit\":null}", GOOD_CLAIMS),
                        "critical");
    assert_string_equal(verdict("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", GOOD_CLAIMS),
                        "malformed");
    assert_string_equal(verdict("{\"alg\":\"HS256\",\"alg\":\"none\"}", GOOD_CLAIMS),
                        "malformed");
    assert_string_equal(verdict("{\"alg\":\"HS256\",\"kid\":\"../../etc\",\"typ\":\"x\","
                                "\"jku\":\"http://evil/\"}",
                                GOOD_CLAIMS),
                        "");
}

static void every_flipped_bit_is_refused(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, GOOD_CLAIMS);
    for (size_t i = 0; i < b.len * 8; i++) {
        b.data[i / 8] = (char)(b.data[i / 8] ^ 1 << i % 8);
        assert_string_not_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "");
        b.data[i / 8] = (char)(b.data[i / 8] ^ 1 << i % 8);
    }
    assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "");
    buf_fini(&b);
}

static void every_cut_and_every_tail_is_refused(void **state)
{
    static const char *const tails[] = {"=", "==", ".", "..", "A", "\n", " ", "%3d"};
    struct buf b;
    (void)state;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, GOOD_CLAIMS);
    for (size_t n = 0; n < b.len; n++)
        assert_string_not_equal(verdict_of(b.data, n, TEST_NOW_MS), "");
    size_t len = b.len;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        buf_str(&b, tails[i]);
        assert_string_not_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "");
        b.len = len;
    }
    buf_char(&b, '\0');
    assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "malformed");
    buf_fini(&b);
}

static void shapes_that_are_none(void **state)
{
    static const char *const rows[] = {
        "",        ".",           "..",           "...",           "....",
        "a",       "a.b",         "a.b.",         ".b.c",          "a..c",
        "a.b.c.d", "e30.e30.e30", "Bearer a.b.c", "a.b.c\r\nX: y", "t1.e30.e30",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_not_equal(verdict_of(rows[i], strlen(rows[i]), TEST_NOW_MS), "");
    struct buf b;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, GOOD_CLAIMS);
    char *dot = strchr(b.data, '.');
    *dot = ':'; /* one dot */
    assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "malformed");
    buf_fini(&b);
}

static void the_last_bits_have_one_spelling(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, GOOD_CLAIMS);
    /* 32 bytes are 43 characters, the last of which has two bits to spare */
    char *last = &b.data[b.len - 1];
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    ptrdiff_t value = strchr(digits, *last) - digits;
    assert_int_equal(value % 4, 0);
    for (int spare = 1; spare < 4; spare++) {
        *last = digits[value + spare];
        assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "malformed");
    }
    buf_fini(&b);
}

static void length_is_limited(void **state)
{
    struct buf payload, b;
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        buf_init(&payload);
        buf_init(&b);
        buf_str(&payload, "{\"sub\":\"ann\",\"exp\":1700003600,\"x\":\"");
        /* 36 + 1 + 4/3 of it + 1 + 43 */
        while (!payload.failed && payload.len < 3007)
            buf_char(&payload, 'x');
        buf_str(&payload, "\"}");
        token_text(&b, secret, HS256_HEADER, payload.data);
        assert_in_range(b.len, 4090, 4096);
        assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS), "");
        while (!b.failed && b.len < 4096 + (size_t)extra)
            buf_char(&b, '.');
        assert_string_equal(verdict_of(b.data, b.len, TEST_NOW_MS),
                            extra ? "too_long" : "malformed");
        buf_fini(&b);
        buf_fini(&payload);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_token_says_who),
        cmocka_unit_test(our_own_tokens_are_good),
        cmocka_unit_test(the_rfc_example_is_signed_well),
        cmocka_unit_test(the_token_has_no_say_in_the_algorithm),
        cmocka_unit_test(none_without_signature_is_refused),
        cmocka_unit_test(a_pem_is_no_secret),
        cmocka_unit_test(extensions_are_refused),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(shapes_that_are_none),
        cmocka_unit_test(the_last_bits_have_one_spelling),
        cmocka_unit_test(length_is_limited),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
