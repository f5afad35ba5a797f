/* claims: what a well-signed token must say to be believed. */
#include "test_verdict.h"

#include <stdio.h>

static void payloads_that_are_no_claims(void **state)
{
    struct buf deep;
    (void)state;
    assert_claims("[]", "malformed");
    assert_claims("null", "malformed");
    assert_claims("\"x\"", "malformed");
    assert_claims("{}x", "malformed");
    assert_claims("{\"sub\":\"ann\",\"exp\":1700003600", "malformed");
    assert_claims("{\"sub\":\"ann\",\"sub\":\"bob\",\"exp\":1700003600}", "malformed");
    assert_claims("{\"sub\":\"ann\",\"exp\":1,\"exp\":1700003600}", "malformed");
    assert_claims("{\"sub\":\"a\xff\",\"exp\":1700003600}", "malformed");
    assert_claims("{\"sub\":\"a\\u0000\",\"exp\":1700003600}", "malformed");
    assert_claims("{\"sub\":\"a\\ud800\",\"exp\":1700003600}", "malformed");
    for (int levels = 31; levels <= 33; levels++) { /* and the object itself */
        buf_init(&deep);
        buf_str(&deep, "{\"sub\":\"ann\",\"exp\":1700003600,\"x\":");
        for (int i = 0; i < levels; i++)
            buf_char(&deep, '[');
        for (int i = 0; i < levels; i++)
            buf_char(&deep, ']');
        buf_char(&deep, '}');
        assert_false(deep.failed);
        assert_claims(deep.data, levels == 31 ? "" : "malformed");
        buf_fini(&deep);
    }
    buf_init(&deep);
    for (int i = 0; i < 3000; i++)
        buf_char(&deep, '[');
    assert_false(deep.failed);
    assert_claims(deep.data, "malformed");
    buf_fini(&deep);
    buf_init(&deep); /* braces inside of strings are no levels */
    buf_str(&deep, "{\"sub\":\"ann\",\"exp\":1700003600,\"x\":\"\\\"");
    for (int i = 0; i < 100; i++)
        buf_char(&deep, '{');
    buf_str(&deep, "\"}");
    assert_false(deep.failed);
    assert_claims(deep.data, "");
    buf_fini(&deep);
}

static void expiry_is_required_and_sane(void **state)
{
    static const char *const rows[] = {
        "\"1700003600\"",
        "1700003600.5",
        "1.7e9",
        "null",
        "true",
        "[1700003600]",
        "0",
        "-1",
        "9007199254740992",
        "9223372036854775807",
    };
    (void)state;
    assert_claims("{\"sub\":\"ann\"}", "dates");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char claims[96];
        snprintf(claims, sizeof(claims), "{\"sub\":\"ann\",\"exp\":%s}", rows[i]);
        assert_claims(claims, "dates");
    }
    /* 2^63 and more are no integers at all */
    assert_claims("{\"sub\":\"ann\",\"exp\":9223372036854775808}", "malformed");
    assert_claims("{\"sub\":\"ann\",\"exp\":1e400}", "malformed");
    assert_claims("{\"sub\":\"ann\",\"exp\":9007199254740991}", "");
    assert_claims("{\"sub\":\"ann\",\"exp\":1}", "expired");
}

static void dates_have_30_seconds_of_leeway(void **state)
{
    const char *claims = "{\"sub\":\"ann\",\"nbf\":1700000000,\"exp\":1700003600}";
    const char *iat = "{\"sub\":\"ann\",\"iat\":1700000000,\"exp\":1700003600}";
    (void)state;
    assert_string_equal(verdict_at(HS256_HEADER, claims, 1700003600000 + 29999), "");
    assert_string_equal(verdict_at(HS256_HEADER, claims, 1700003600000 + 30000),
                        "expired");
    assert_string_equal(verdict_at(HS256_HEADER, claims, 1700000000000 - 30000), "");
    assert_string_equal(verdict_at(HS256_HEADER, claims, 1700000000000 - 30001),
                        "not_yet");
    assert_string_equal(verdict_at(HS256_HEADER, iat, 1700000000000 - 30001), "not_yet");
    assert_claims("{\"sub\":\"ann\",\"nbf\":\"1\",\"exp\":1700003600}", "dates");
    assert_claims("{\"sub\":\"ann\",\"iat\":1.5,\"exp\":1700003600}", "dates");
    assert_claims("{\"sub\":\"ann\",\"nbf\":-1,\"exp\":1700003600}", "dates");
}

/* One that is accepted on leeway must not end before it was accepted. */
static void an_identity_ends_in_the_future(void **state)
{
    struct identity *id = NULL;
    const char *why;
    struct buf b;
    (void)state;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, GOOD_CLAIMS);
    assert_true(jwt_verify(&rules, b.data, b.len, 1700003600000, &id, &why));
    assert_int_equal(id->expires_ms, 1700003630000);
    identity_unref(id);
    buf_fini(&b);
}

static void subjects_are_required_and_clean(void **state)
{
    struct buf b;
    (void)state;
    assert_claims("{\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":\"\",\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":1,\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":null,\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":[\"ann\"],\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":\"a\\r\\nb\",\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":\"a\\tb\",\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":\"a\\u007f\",\"exp\":1700003600}", "subject");
    assert_claims("{\"sub\":\"\xc3\xa4 \xf0\x9f\x87\xa6\xf0\x9f\x87\xb9\","
                  "\"exp\":1700003600}",
                  "");
    for (size_t n = 255; n <= 257; n++) {
        buf_init(&b);
        buf_str(&b, "{\"exp\":1700003600,\"sub\":\"");
        for (size_t i = 0; i < n; i++)
            buf_char(&b, 'a');
        buf_str(&b, "\"}");
        assert_false(b.failed);
        assert_claims(b.data, n <= 256 ? "" : "subject");
        buf_fini(&b);
    }
}

static void audience_and_issuer_when_configured(void **state)
{
#define TOKEN(more) "{\"sub\":\"ann\",\"exp\":1700003600" more "}"
    (void)state;
    assert_claims(TOKEN(",\"aud\":\"x\",\"iss\":\"y\""), "");
    assert_claims(TOKEN(",\"aud\":1"), "audience");
    assert_claims(TOKEN(",\"aud\":[\"x\",1]"), "audience");
    assert_claims(TOKEN(",\"iss\":[\"y\"]"), "issuer");
    rules.claims = (struct claims_rules){.audience = "me", .issuer = "them"};
    assert_claims(TOKEN(""), "audience");
    assert_claims(TOKEN(",\"aud\":\"me\""), "issuer");
    assert_claims(TOKEN(",\"aud\":\"me\",\"iss\":\"them\""), "");
    assert_claims(TOKEN(",\"aud\":[\"a\",\"me\"],\"iss\":\"them\""), "");
    assert_claims(TOKEN(",\"aud\":[],\"iss\":\"them\""), "audience");
    assert_claims(TOKEN(",\"aud\":[\"me\",{}],\"iss\":\"them\""), "audience");
    assert_claims(TOKEN(",\"aud\":\"mee\",\"iss\":\"them\""), "audience");
    assert_claims(TOKEN(",\"aud\":\"me \",\"iss\":\"them\""), "audience");
    assert_claims(TOKEN(",\"aud\":\"me\",\"iss\":\"Them\""), "issuer");
    assert_claims(TOKEN(",\"aud\":\"me\",\"iss\":[\"them\"]"), "issuer");
    rules.claims = (struct claims_rules){.sub = NULL};
}

static void grants_of_the_wrong_type_refuse_the_token(void **state)
{
    static const char *const rows[] = {
        "null",
        "true",
        "\"*\"",
        "[]",
        "1",
        "{\"read\":\"t1\"}",
        "{\"read\":null}",
        "{\"read\":{}}",
        "{\"read\":[1]}",
        "{\"read\":[null]}",
        "{\"read\":[[\"t1\"]]}",
        "{\"read\":[\"\"]}",
        "{\"read\":[\"t 1\"]}",
        "{\"read\":[\"*a\"]}",
        "{\"read\":[\"a*b\"]}",
        "{\"read\":[\"a**\"]}",
        "{\"read\":[\"**\"]}",
        "{\"read\":[\"a*\",\"b/c\"]}",
        "{\"write\":\"*\"}",
        "{\"write\":[true]}",
        "{\"read\":[\"t1\"],\"write\":[\"a?\"]}",
        "{\"read\":[\"a*\\n\"]}",
        "{\"read\":[\"\xc3\xa4*\"]}",
        "{\"read\":[],\"read\":[\"*\"]}",
        "{\"revoke\":1}",
        "{\"revoke\":\"true\"}",
        "{\"revoke\":null}",
        "{\"tickets\":[\"*\"]}",
        "{\"probe\":\"*\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char claims[160];
        snprintf(claims, sizeof(claims),
                 "{\"sub\":\"ann\",\"exp\":1700003600,"
                 "\"threadcast\":%s}",
                 rows[i]);
        assert_string_not_equal(verdict(HS256_HEADER, claims), "");
    }
    assert_claims(TOKEN(",\"threadcast\":{}"), "");
    assert_claims(TOKEN(",\"threadcast\":{\"read\":[],\"write\":[]}"), "");
    assert_claims(TOKEN(",\"threadcast\":{\"read\":[\"*\",\"a*\",\"t1\"],\"later\":1}"),
                  "");
}

/* Rights are said by name; `jti` and `iat` are what revocations go by. */
static void rights_and_what_revocations_go_by(void **state)
{
    static const char claims[] =
        "{\"sub\":\"ann\",\"exp\":1700003600,\"iat\":1700000000,\"jti\":\"j1\","
        "\"threadcast\":{\"revoke\":true,\"tickets\":false,\"probe\":true}}";
    struct identity *id = NULL;
    const char *why;
    struct buf b;
    (void)state;
    buf_init(&b);
    token_text(&b, secret, HS256_HEADER, claims);
    assert_true(jwt_verify(&rules, b.data, b.len, 1700000000000, &id, &why));
    assert_true(id->may_revoke);
    assert_false(id->may_ticket);
    assert_true(id->may_probe);
    assert_string_equal(id->jti, "j1");
    assert_int_equal(id->issued_ms, 1700000000000);
    assert_int_equal(id->end_ms, id->expires_ms);
    identity_unref(id);
    buf_fini(&b);
    assert_claims(TOKEN(",\"jti\":1"), "jti");
    assert_claims(TOKEN(",\"jti\":\"\""), "jti");
    assert_claims(TOKEN(",\"jti\":null"), "jti");
}

static void grants_stand_where_the_rules_say(void **state)
{
    static const struct {
        const char *path, *claims, *why; /* "": accepted */
        bool reads;                      /* t1 */
    } rows[] = {
        {"grants", ",\"grants\":{\"read\":[\"t1\"]}", "", true},
        {"grants", ",\"threadcast\":{\"read\":[\"t1\"]}", "", false},
        {"https://a.example/x", ",\"https://a.example/x\":{\"read\":[\"t1\"]}", "", true},
        {"a.b", ",\"a.b\":{\"read\":[\"t1\"]}", "", true},
        {"a.b", ",\"a\":{\"b\":{\"read\":[\"t1\"]}}", "", false},
        {"/a/b", ",\"a\":{\"b\":{\"read\":[\"t1\"]}}", "", true},
        {"/a/b", ",\"a\":{\"b\":{\"read\":\"t1\"}}", "grants", false},
        {"/a/b", ",\"a\":{\"b\":null}", "grants", false},
        {"/a/b", ",\"a\":{\"b\":[]}", "grants", false},
        {"/a/b", ",\"a\":{}", "", false},
        {"/a/b", ",\"a\":null", "", false},
        {"/a/b", ",\"a\":\"b\"", "grants", false},
        {"/a/b", ",\"a\":[{\"read\":[\"t1\"]}]", "grants", false},
        {"/a/0", ",\"a\":[{\"read\":[\"t1\"]}]", "grants", false},
        {"/a~1b/c~0d", ",\"a/b\":{\"c~d\":{\"read\":[\"t1\"]}}", "", true},
        {"/a~01", ",\"a~1\":{\"read\":[\"t1\"]}", "", true},
        {"/sub/x", "", "grants", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct identity *id = NULL;
        const char *why = "";
        char payload[256];
        snprintf(payload, sizeof(payload), TOKEN("%s"), rows[i].claims);
        json_t *claims = claims_object(payload, strlen(payload));
        assert_non_null(claims);
        id = claims_check(claims, &(struct claims_rules){.grants = rows[i].path},
                          TEST_NOW_MS, &why);
        if (strcmp(id ? "" : why, rows[i].why) != 0 ||
            (id && identity_reads(id, "t1") != rows[i].reads))
            fail_msg("%s in %s: %s", rows[i].path, payload, id ? "accepted" : why);
        identity_unref(id);
        json_decref(claims);
    }
}

static void paths_are_checked(void **state)
{
    static const char *const good[] = {"threadcast", "a.b",   "https://a/b", "/a",
                                       "/a/b",       "/~0~1", "a~b"};
    static const char *const bad[] = {"", "/", "/a/", "//a", "/a//b", "/~", "/~2", "/a~"};
    struct buf err;
    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!claims_path_check(good[i], &err))
            fail_msg("%s: %s", good[i], err.data);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (claims_path_check(bad[i], &err))
            fail_msg("%s is good?", bad[i]);
    char longest[CLAIMS_PATH_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[CLAIMS_PATH_MAX + 1] = '\0';
    assert_false(claims_path_check(longest, &err));
    longest[CLAIMS_PATH_MAX] = '\0';
    assert_true(claims_path_check(longest, &err));
    buf_fini(&err);
}

static void what_is_put_is_found(void **state)
{
    json_t *claims = json_pack("{s:s}", "sub", "ann");
    char *text;
    (void)state;
    assert_true(claims_put(claims, "/a~1b/c", json_integer(1)));
    assert_true(claims_put(claims, "/a~1b/d", json_integer(2)));
    assert_true(claims_put(claims, "x/y", json_integer(3)));
    assert_false(claims_put(claims, "/sub", json_integer(4)));
    assert_false(claims_put(claims, "/sub/x", json_integer(4)));
    assert_false(claims_put(claims, "x/y", json_integer(4)));
    text = json_dumps(claims, JSON_COMPACT);
    assert_string_equal(text, "{\"sub\":\"ann\",\"a/b\":{\"c\":1,\"d\":2},\"x/y\":3}");
    free(text);
    json_decref(claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_that_are_no_claims),
        cmocka_unit_test(expiry_is_required_and_sane),
        cmocka_unit_test(dates_have_30_seconds_of_leeway),
        cmocka_unit_test(an_identity_ends_in_the_future),
        cmocka_unit_test(subjects_are_required_and_clean),
        cmocka_unit_test(audience_and_issuer_when_configured),
        cmocka_unit_test(grants_of_the_wrong_type_refuse_the_token),
        cmocka_unit_test(rights_and_what_revocations_go_by),
        cmocka_unit_test(grants_stand_where_the_rules_say),
        cmocka_unit_test(paths_are_checked),
        cmocka_unit_test(what_is_put_is_found),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
