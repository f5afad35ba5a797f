/* jwks and keyset: which keys come out of a set, and which of them a token gets. */
#include "bridge/jwks.h"

#include "bridge/jwt.h"
#include "bridge/keyset.h"
#include "test_tokens.h"
#include "unit.h"

#define RSA_N                                                                            \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJP"  \
    "MEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LO"  \
    "L-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlx"  \
    "vb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD"  \
    "TW9gb54h4FRWyuXpoQ"
#define EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define ED_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

#define RSA(more) "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"" more "}"
#define EC(more)                                                                         \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"" more "}"
#define ED(more) "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\"" more "}"

/* RFC 7515 A.2 and A.3, RFC 8037 A.4: signed by those keys */
#define RSA_TOKEN                                                                        \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9le" \
    "GFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9" \
    "PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BA" \
    "ynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOL" \
    "n6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9" \
    "Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define EC_TOKEN                                                                         \
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9le" \
    "GFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfT" \
    "jDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

static struct keyset *set;
static struct jwks_count count;
static char why[256];

static bool take(const char *text, const struct keyset *known)
{
    struct buf err;
    bool ok;

    keyset_unref(set);
    set = keyset_new();
    assert_non_null(set);
    buf_init(&err);
    ok = jwks_read(text, strlen(text), known, set, &count, &err);
    snprintf(why, sizeof(why), "%s", err.data ? err.data : "");
    assert_true(ok == !why[0]);
    buf_fini(&err);
    return ok;
}

static int teardown(void **state)
{
    (void)state;
    keyset_unref(set);
    set = NULL;
    return 0;
}

static void takes_the_three_kinds(void **state)
{
    (void)state;
    assert_true(take("{\"keys\":[" RSA(",\"kid\":\"r\"") "," EC(",\"kid\":\"e\"") "," ED(
                         ",\"kid\":\"d\"") "],\"more\":1}",
                     NULL));
    assert_int_equal(count.taken, 3);
    assert_int_equal(count.skipped, 0);
    assert_int_equal(keyset_issued(set), 3);
    assert_non_null(keyset_issued_get(set, "r", "RS256"));
    assert_non_null(keyset_issued_get(set, "e", "ES256"));
    assert_non_null(keyset_issued_get(set, "d", "EdDSA"));
    assert_null(keyset_issued_get(set, "r", "ES256"));
    assert_null(keyset_issued_get(set, NULL, "RS256"));
    assert_null(keyset_signer(set));
    assert_true(keyset_knows(set, "r"));
    assert_false(keyset_knows(set, "R"));
}

/* The word for a token of the RFCs, whose claims name nobody. */
static const char *verdict(const char *token)
{
    struct jwt_rules rules = {.keys = set, .issuer = true};
    struct identity *id = NULL;
    const char *word = "";

    if (jwt_verify(&rules, token, strlen(token), 1300819379000, &id, &word))
        identity_unref(id);
    return word;
}

static void its_keys_verify(void **state)
{
    (void)state;
    assert_true(take("{\"keys\":[" EC("") "," RSA("") "]}", NULL));
    assert_string_equal(verdict(RSA_TOKEN), "subject"); /* behind the signature */
    assert_string_equal(verdict(EC_TOKEN), "subject");
    assert_true(take("{\"keys\":[" EC("") "]}", NULL));
    assert_string_equal(verdict(RSA_TOKEN), "algorithm");
    assert_string_equal(verdict("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"), "signature");
    assert_true(take("{\"keys\":[]}", NULL));
    assert_string_equal(verdict(RSA_TOKEN), JWT_UNKNOWN_KEY);
    assert_string_equal(verdict("eyJhbGciOiJIUzI1NiJ9.e30.AAAA"), "algorithm");
}

static void what_is_said_of_a_key_must_fit(void **state)
{
    static const struct {
        const char *more;
        bool taken;
    } rows[] = {
        {"", true},
        {",\"use\":\"sig\",\"key_ops\":[\"verify\"],\"alg\":\"RS256\",\"x5c\":[\"x\"]",
         true},
        {",\"key_ops\":[\"sign\",\"verify\"]", true},
        {",\"use\":\"enc\"", false},
        {",\"use\":\"SIG\"", false},
        {",\"use\":null", false},
        {",\"use\":[\"sig\"]", false},
        {",\"key_ops\":[]", false},
        {",\"key_ops\":\"verify\"", false},
        {",\"key_ops\":[\"encrypt\"]", false},
        {",\"alg\":\"RS512\"", false},
        {",\"alg\":\"PS256\"", false},
        {",\"alg\":\"HS256\"", false},
        {",\"alg\":\"none\"", false},
        {",\"alg\":\"ES256\"", false},
        {",\"alg\":1", false},
        {",\"d\":\"AQAB\"", false},
        {",\"d\":null", false},
        {",\"kid\":\"\"", false},
        {",\"kid\":1", false},
        {",\"kid\":null", false},
        {",\"kid\":{}", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[2048];
        snprintf(text, sizeof(text), "{\"keys\":[%.*s%s}]}", (int)strlen(RSA("")) - 1,
                 RSA(""), rows[i].more);
        assert_true(take(text, NULL));
        if (count.taken != rows[i].taken || count.skipped != !rows[i].taken)
            fail_msg("%s", rows[i].more);
    }
}

static void what_is_no_sound_key_is_skipped(void **state)
{
    static const char *const rows[] = {
        "null",
        "1",
        "\"key\"",
        "[]",
        "{}",
        "{\"kty\":\"RSA\"}",
        "{\"kty\":1}",
        "{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"kty\":\"rsa\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQ\"}", /* 1 signs anything */
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"\"}",
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQABAQABAQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "=\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N RSA_N RSA_N RSA_N RSA_N "\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", /* 17 bits */
        "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":[],\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_Y "\",\"y\":\"" EC_X "\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\"}",
        "{\"kty\":\"EC\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_X "\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[4096];
        snprintf(text, sizeof(text), "{\"keys\":[%s," ED("") "]}", rows[i]);
        assert_true(take(text, NULL));
        if (count.taken != 1 ||
            count.skipped != 1) /* and the next is taken all the same */
            fail_msg("%s", rows[i]);
    }
}

static void what_is_no_set_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "[]",
        "null",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":null}",
        "{\"Keys\":[]}",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"EC\"}]}",
        "<html></html>",
        "{\"keys\":[",
        "{\"keys\":[]}x",
        "{\"keys\":[\"\\u0000\"]}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (take(rows[i], NULL))
            fail_msg("%s", rows[i]);
}

/* A name is the first's; the same name for another algorithm is another key. */
static void names_are_taken_once(void **state)
{
    (void)state;
    assert_true(take("{\"keys\":[" RSA(",\"kid\":\"a\"") "," RSA(",\"kid\":\"a\"") "," EC(
                         ",\"kid\":\"a\"") "," EC("") "," ED("") "]}",
                     NULL));
    assert_int_equal(count.taken, 4);
    assert_int_equal(count.skipped, 1);
}

/* So many entries that differ in their names: `before`, k0, k1, …, `after`. */
static char *many(size_t entries, const char *before, const char *after)
{
    struct buf b;
    buf_init(&b);
    buf_str(&b, "{\"keys\":[");
    for (size_t i = 0; i < entries; i++)
        buf_printf(&b, "%s%sk%zu%s", i ? "," : "", before, i, after);
    buf_str(&b, "]}");
    return buf_take(&b, NULL);
}

#define ED_NAMED "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"kid\":\""

static void there_are_limits(void **state)
{
    char *text = many(KEYSET_ISSUED + 5, ED_NAMED, "\"}");
    (void)state;
    assert_true(take(text, NULL));
    assert_int_equal(count.taken, KEYSET_ISSUED);
    assert_int_equal(count.skipped, 5);
    struct keyset *few = keyset_new();
    struct buf err = {0};
    keyset_limit_issued(few, 3);
    assert_true(jwks_read(text, strlen(text), NULL, few, &count, &err));
    assert_int_equal(count.taken, 3);
    assert_true(keyset_issued_full(few) && keyset_knows(few, "k2"));
    assert_false(keyset_knows(few, "k3"));
    assert_false(keyset_copy_issued(few, few)); /* not one more by any way */
    keyset_limit_issued(few, 70);
    assert_true(jwks_read(text, strlen(text), NULL, few, &count, &err));
    assert_int_equal(keyset_issued(few), 69);
    keyset_unref(few);
    free(text);
    text = many(JWKS_ENTRIES_MAX, "{\"kty\":\"oct\",\"kid\":\"", "\"}");
    memcpy(text + strlen(text) - 2, ",", 2);
    struct buf b = {0};
    buf_str(&b, text);
    buf_str(&b, ED("") "]}"); /* one too far behind */
    assert_true(take(b.data, NULL));
    assert_int_equal(count.taken, 0);
    assert_int_equal(count.skipped, JWKS_ENTRIES_MAX + 1);
    buf_fini(&b);
    free(text);
}

/* Examined once: the same key under the same name is the same struct. */
static void known_keys_are_kept(void **state)
{
    static const char text[] =
        "{\"keys\":[" RSA(",\"kid\":\"a\"") "," EC(",\"kid\":\"b\"") "]}";
    struct keyset *known;
    (void)state;
    assert_true(take(text, NULL));
    known = keyset_ref(set);
    assert_true(take(text, known));
    assert_ptr_equal(keyset_issued_get(set, "a", "RS256"),
                     keyset_issued_get(known, "a", "RS256"));
    assert_true(take("{\"keys\":[" EC(",\"kid\":\"a\"") "]}", known));
    assert_ptr_not_equal(keyset_issued_get(set, "a", "ES256"),
                         keyset_issued_get(known, "b", "ES256"));
    keyset_unref(known);
}

static void a_token_without_a_name_gets_a_few(void **state)
{
    char *text = many(10, ED_NAMED, "\"}");
    size_t pos = 0, found = 0;
    (void)state;
    assert_true(take(text, NULL));
    free(text);
    while (keyset_find(set, "EdDSA", NULL, &pos))
        found++;
    assert_int_equal(found, KEYSET_UNNAMED_MAX);
    for (pos = found = 0; keyset_find(set, "EdDSA", "k7", &pos);)
        found++;
    assert_int_equal(found, 1);
    pos = 0;
    assert_null(keyset_find(set, "EdDSA", "k", &pos));
    pos = 0;
    assert_null(keyset_find(set, "HS256", "k7", &pos));
}

static void own_keys_have_no_name(void **state)
{
    struct buf err;
    struct key *secret, *other;
    size_t pos = 0;
    (void)state;
    buf_init(&err);
    secret = key_from_secret(TEST_SECRET, strlen(TEST_SECRET), &err);
    other = key_from_pem(TEST_ED_PEM, strlen(TEST_ED_PEM), &err);
    set = keyset_new();
    assert_true(set && secret && other);
    assert_true(keyset_add_own(set, other) && keyset_add_own(set, secret));
    assert_ptr_equal(keyset_signer(set), secret);
    assert_ptr_equal(keyset_find(set, "HS256", "anything", &pos), secret);
    assert_null(keyset_find(set, "HS256", "anything", &pos));
    pos = 0;
    assert_ptr_equal(keyset_find(set, "EdDSA", NULL, &pos), other);
    pos = 0;
    assert_null(keyset_find(set, "RS256", NULL, &pos));
    assert_false(keyset_knows(set, "anything"));
    while (keyset_add_own(set, secret))
        ;
    assert_int_equal(keyset_own(set), 2 * KEYSET_OWN_MAX);
    key_free(secret);
    key_free(other);
    buf_fini(&err);
}

#define with_set(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_set(takes_the_three_kinds),
        with_set(its_keys_verify),
        with_set(what_is_said_of_a_key_must_fit),
        with_set(what_is_no_sound_key_is_skipped),
        with_set(what_is_no_set_is_refused),
        with_set(names_are_taken_once),
        with_set(there_are_limits),
        with_set(known_keys_are_kept),
        with_set(a_token_without_a_name_gets_a_few),
        with_set(own_keys_have_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
