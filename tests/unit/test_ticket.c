/* ticket: it reads what it names until its end, and nobody else can make one. */
#include "bridge/jwt.h"
#include "bridge/ticket.h"
#include "common/memory.h"
#include "test_tokens.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct key *secret, *key;

static int setup(void **state)
{
    struct buf err;
    (void)state;
    memory_watch();
    buf_init(&err);
    secret = key_from_secret(TEST_SECRET, strlen(TEST_SECRET), &err);
    key = key_derive(secret, "threadcast ticket 1");
    buf_fini(&err);
    return key ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    key_free(secret);
    key_free(key);
    return 0;
}

static const char *const granted[] = {"t1", "room.2", NULL};
static const char *const owned[] = {"mine", NULL};

static void make(struct buf *out)
{
    struct ticket t = {.sub = "ann \"x\"",
                       .granted = granted,
                       .owned = owned,
                       .issued_ms = TEST_NOW_MS,
                       .expires_ms = TEST_NOW_MS + 1000};
    buf_init(out);
    assert_true(ticket_make(key, &t, out));
}

static const char *verdict(const struct key *k, const char *text, size_t len, int64_t now)
{
    struct identity *id = NULL;
    const char *why = "unset";
    bool ok = ticket_verify(k, text, len, now, &id, &why);
    torture_verdict_why(ok, why == JWT_NO_MEMORY);
    assert_int_equal(ok, id != NULL);
    identity_unref(id);
    return ok ? "" : why;
}

static void a_ticket_says_what_it_reads(void **state)
{
    struct identity *id = NULL;
    const char *why;
    struct buf b;
    (void)state;
    make(&b);
    assert_true(ticket_verify(key, b.data, b.len, TEST_NOW_MS, &id, &why));
    assert_string_equal(id->sub, "ann \"x\"");
    assert_true(id->ticket);
    assert_false(id->everything);
    assert_int_equal(id->expires_ms, TEST_NOW_MS + 1000);
    assert_int_equal(id->life_ms, 1000);
    assert_true(identity_reads(id, "t1") && identity_reads(id, "room.2"));
    assert_false(identity_reads(id, "mine") || identity_reads(id, "t2"));
    assert_true(identity_may_own(id, "mine"));
    assert_false(identity_may_own(id, "t1") || identity_may_own(id, "t2"));
    assert_false(identity_writes(id, "t1"));
    identity_unref(id);
    buf_fini(&b);
}

/* What ends its stream: the token, the service, a moment. */
static void a_ticket_remembers_what_it_is_made_from(void **state)
{
    struct ticket t = {.sub = "ann",
                       .granted = granted,
                       .issued_ms = TEST_NOW_MS,
                       .expires_ms = TEST_NOW_MS + 1000,
                       .end_ms = TEST_NOW_MS + 5000,
                       .from_ms = 77,
                       .jti = "j \"1\"",
                       .by = "backend",
                       .by_from_ms = 78};
    struct identity *id = NULL;
    const char *why;
    struct buf b;
    (void)state;
    buf_init(&b);
    assert_true(ticket_make(key, &t, &b));
    assert_true(ticket_verify(key, b.data, b.len, TEST_NOW_MS, &id, &why));
    assert_int_equal(id->end_ms, TEST_NOW_MS + 5000);
    assert_int_equal(id->issued_ms, 77);
    assert_string_equal(id->jti, "j \"1\"");
    assert_string_equal(id->by, "backend");
    assert_int_equal(id->by_issued_ms, 78);
    identity_unref(id);
    buf_fini(&b);
    make(&b); /* says no more than that it ends */
    assert_true(ticket_verify(key, b.data, b.len, TEST_NOW_MS, &id, &why));
    assert_int_equal(id->end_ms, id->expires_ms);
    assert_null(id->jti);
    assert_null(id->by);
    identity_unref(id);
    buf_fini(&b);
}

/* As bridges before this one made them. */
static void an_older_ticket_is_as_old_as_any(void **state)
{
    const char *payload = "{\"sub\":\"a\",\"iat\":1,\"exp\":1800000000000,\"read\":[],"
                          "\"owned\":[]}";
    unsigned char mac[KEY_MAC_SIZE];
    struct identity *id = NULL;
    const char *why;
    struct buf b;
    (void)state;
    buf_init(&b);
    buf_str(&b, "t1.");
    base64url_encode(&b, payload, strlen(payload));
    assert_true(key_mac(key, b.data, b.len, mac));
    buf_char(&b, '.');
    base64url_encode(&b, mac, sizeof(mac));
    assert_true(ticket_verify(key, b.data, b.len, TEST_NOW_MS, &id, &why));
    assert_int_equal(id->end_ms, 1800000000000);
    assert_int_equal(id->issued_ms, -1);
    identity_unref(id);
    buf_fini(&b);
}

static void it_ends(void **state)
{
    struct buf b;
    (void)state;
    make(&b);
    assert_string_equal(verdict(key, b.data, b.len, TEST_NOW_MS + 999), "");
    assert_string_equal(verdict(key, b.data, b.len, TEST_NOW_MS + 1000), "expired");
    buf_fini(&b);
}

static void every_change_is_refused(void **state)
{
    struct buf b;
    (void)state;
    make(&b);
    for (size_t i = 0; i < b.len * 8; i++) {
        b.data[i / 8] = (char)(b.data[i / 8] ^ 1 << i % 8);
        assert_string_not_equal(verdict(key, b.data, b.len, TEST_NOW_MS), "");
        b.data[i / 8] = (char)(b.data[i / 8] ^ 1 << i % 8);
    }
    for (size_t n = 0; n < b.len; n++)
        assert_string_not_equal(verdict(key, b.data, n, TEST_NOW_MS), "");
    buf_str(&b, "=");
    assert_string_equal(verdict(key, b.data, b.len, TEST_NOW_MS), "malformed");
    buf_fini(&b);
}

static void keys_and_kinds_do_not_mix(void **state)
{
    struct keyset *keys = keyset_of(key);
    struct jwt_rules rules = {.keys = keys};
    struct identity *id = NULL;
    const char *why = NULL;
    struct buf ticket, token;
    (void)state;
    make(&ticket);
    assert_string_equal(verdict(secret, ticket.data, ticket.len, TEST_NOW_MS),
                        "signature");
    assert_false(jwt_verify(&rules, ticket.data, ticket.len, TEST_NOW_MS, &id, &why));
    buf_init(&token);
    token_text(&token, key, HS256_HEADER, GOOD_CLAIMS);
    assert_string_equal(verdict(key, token.data, token.len, TEST_NOW_MS), "malformed");
    buf_fini(&token);
    buf_fini(&ticket);
    keyset_unref(keys);
}

/* Well signed, by a bridge that has gone mad. */
static void payloads_are_checked_all_the_same(void **state)
{
    static const char *const rows[] = {
        "{}",
        "[]",
        "{\"sub\":\"a\",\"iat\":1,\"exp\":1800000000000,\"read\":[]}",
        "{\"sub\":\"a\",\"iat\":1,\"exp\":1800000000000,\"read\":[\"*\"],\"owned\":[]}",
        "{\"sub\":\"a\",\"iat\":1,\"exp\":1800000000000,\"read\":[],\"owned\":[\"a*\"]}",
        "{\"sub\":\"\",\"iat\":1,\"exp\":1800000000000,\"read\":[],\"owned\":[]}",
        "{\"sub\":\"a\",\"exp\":1800000000000,\"read\":[],\"owned\":[]}",
        "{\"sub\":\"a\",\"iat\":1,\"exp\":1800000000000,\"read\":[],\"owned\":[],"
        "\"jti\":1}",
        "{\"sub\":\"a\",\"iat\":1,\"exp\":1800000000000,\"read\":[],\"owned\":[],"
        "\"by\":\"\"}",
        "{\"sub\":\"a\",\"iat\":1,\"exp\":\"1800000000000\",\"read\":[],\"owned\":[]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned char mac[KEY_MAC_SIZE];
        struct buf b;
        buf_init(&b);
        buf_str(&b, "t1.");
        base64url_encode(&b, rows[i], strlen(rows[i]));
        assert_true(key_mac(key, b.data, b.len, mac));
        buf_char(&b, '.');
        base64url_encode(&b, mac, sizeof(mac));
        assert_string_equal(verdict(key, b.data, b.len, TEST_NOW_MS), "malformed");
        buf_fini(&b);
    }
}

static void length_is_limited(void **state)
{
    static char ids[32][129];
    const char *list[33] = {0};
    (void)state;
    for (size_t i = 0; i < 32; i++) {
        memset(ids[i], 'a', 128);
        list[i] = ids[i];
        struct ticket t = {.sub = "ann",
                           .granted = list,
                           .issued_ms = TEST_NOW_MS,
                           .expires_ms = TEST_NOW_MS + 1};
        struct buf b;
        buf_init(&b);
        bool ok = ticket_make(key, &t, &b);
        assert_int_equal(ok, b.len <= TICKET_MAX);
        if (ok)
            assert_string_equal(verdict(key, b.data, b.len, TEST_NOW_MS), "");
        assert_true(ok || i > 10);
        assert_true(!ok || i < 20);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_says_what_it_reads),
        cmocka_unit_test(a_ticket_remembers_what_it_is_made_from),
        cmocka_unit_test(an_older_ticket_is_as_old_as_any),
        cmocka_unit_test(it_ends),
        cmocka_unit_test(every_change_is_refused),
        cmocka_unit_test(keys_and_kinds_do_not_mix),
        cmocka_unit_test(payloads_are_checked_all_the_same),
        cmocka_unit_test(length_is_limited),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
