/* extension: what crosses from one bridge to another is who asked, unchanged, or nothing.
 */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/conf.h"
#include "bridge/extension.h"
#include "bridge/identity.h"
#include "common/log.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1700000000000)
#define CONNECTION "0123456789ab-7.00112233445566778899aabbccddeeff"

static char secret[] = "a secret of more than thirty-two bytes",
            other_secret[] = "another secret of more than thirty-two bytes";
static struct auth *ours, *theirs;

static struct auth *auth_of(char *key)
{
    struct bridge_conf conf = {.jwt_secret = key};
    struct buf err;
    buf_init(&err);
    struct auth *a = auth_new(&conf, &err);
    buf_fini(&err);
    return a;
}

static int setup(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    ours = auth_of(secret);
    theirs = auth_of(other_secret);
    return ours && theirs ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    auth_free(ours);
    auth_free(theirs);
    return 0;
}

static void names_of_connections(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "0123456789ab",
        "0123456789ab-7",
        "0123456789ab-7.",
        "0123456789ab-.00112233445566778899aabbccddeeff",
        "0123456789ab-100.00112233445566778899aabbccddeeff",
        "0123456789ab-x.00112233445566778899aabbccddeeff",
        "0123456789a-7.00112233445566778899aabbccddeeff",
        "0123456789abc-7.00112233445566778899aabbccddeeff",
        "0123456789AB-7.00112233445566778899aabbccddeeff",
        "0123456789ab-7.00112233445566778899aabbccddeef",
        "0123456789ab-7.00112233445566778899aabbccddeeff0",
        "0123456789ab-7.00112233445566778899aabbccddeefg",
        "0123456789ab-7.00112233445566778899aabbccddeeff\n",
        "0123456789ab-7/00112233445566778899aabbccddeeff",
    };
    (void)state;
    assert_true(connection_valid(CONNECTION, strlen(CONNECTION)));
    assert_false(connection_valid(NULL, 0));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(connection_valid(bad[i], strlen(bad[i])));
}

/* Appends the text of an extension for ann until NOW_MS + 1000. */
static void make(struct buf *out)
{
    struct identity *id = identity_new("ann \"x\"", 7, NOW_MS + 1000, 500);
    json_t *grants = json_pack("[s, s]", "room", "team-*");
    assert_non_null(id);
    assert_true(grants_parse(grants, true, &id->read));
    json_decref(grants);
    id->jti = strdup("j1");
    id->issued_ms = 77;
    buf_init(out);
    assert_true(torture_verdict(extension_make(ours, CONNECTION, id, out)));
    identity_unref(id);
}

static bool readable(const struct auth *a, const char *text, size_t len, int64_t now_ms)
{
    char connection[CONNECTION_SIZE];
    struct identity *id = NULL;
    bool ok = torture_verdict(extension_read(a, text, len, now_ms, connection, &id));
    assert_int_equal(ok, id != NULL);
    identity_unref(id);
    return ok;
}

static void it_says_who_asked(void **state)
{
    char connection[CONNECTION_SIZE];
    struct identity *id = NULL;
    struct buf b;
    (void)state;
    make(&b);
    assert_true(extension_read(ours, b.data, b.len, NOW_MS, connection, &id));
    assert_string_equal(connection, CONNECTION);
    assert_string_equal(id->sub, "ann \"x\"");
    assert_string_equal(id->jti, "j1");
    assert_int_equal(id->expires_ms, NOW_MS + 1000);
    assert_int_equal(id->life_ms, 500);
    assert_int_equal(id->issued_ms, 77);
    assert_true(identity_reads(id, "room") && identity_reads(id, "team-7"));
    assert_false(identity_reads(id, "t") || identity_writes(id, "room"));
    assert_false(id->ticket || id->everything || id->may_revoke || id->may_ticket);
    identity_unref(id);
    buf_fini(&b);
}

static void nobody_else_can_say_so(void **state)
{
    struct buf b;
    (void)state;
    make(&b);
    assert_true(readable(ours, b.data, b.len, NOW_MS + 999));
    assert_false(readable(ours, b.data, b.len, NOW_MS + 1000)); /* over */
    assert_false(readable(theirs, b.data, b.len, NOW_MS));
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] = (char)(b.data[i] ^ 1);
        assert_false(readable(ours, b.data, b.len, NOW_MS));
        b.data[i] = (char)(b.data[i] ^ 1);
        assert_false(readable(ours, b.data, i, NOW_MS));
    }
    buf_fini(&b);
}

/* As a bridge that has gone mad would sign them. */
static void payloads_are_checked_all_the_same(void **state)
{
    static const char *const payloads[] = {
        "e30",        /* {} */
        "W10",        /* [] */
        "bnVsbA",     /* null */
        "eyJhIjoxfQ", /* {"a":1} */
        "!",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        struct buf b;
        buf_init(&b);
        buf_str(&b, payloads[i]);
        size_t len = b.len;
        buf_char(&b, '.');
        assert_true(auth_sign(ours, b.data, len, &b));
        assert_false(readable(ours, b.data, b.len, NOW_MS));
        buf_fini(&b);
    }
}

/* Whoever may PUBLISH on Redis may say anything. */
static void hints_that_are_none(void **state)
{
    static const char *const hints[] = {
        "",
        "x",
        "null",
        "[]",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"extend\"}",
        "{\"type\":\"extend\",\"extension\":7}",
        "{\"type\":\"extend\",\"extension\":\"\"}",
        "{\"type\":\"extend\",\"extension\":\".\"}",
        "{\"type\":\"extend\",\"extension\":\"a.b\"}",
        "{\"type\":\"extend\",\"type\":\"extend\",\"extension\":\"e30.e30\"}",
        "{\"type\":\"later\",\"extension\":\"e30.e30\"}",
    };
    struct bridge b = {.auth = ours};
    struct buf good, hint;
    (void)state;
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
        extension_hear(&b, hints[i], strlen(hints[i]));
    make(&good); /* ours, but of a connection of another bridge, and long over */
    buf_init(&hint);
    buf_printf(&hint, "{\"type\":\"extend\",\"extension\":\"%s\"}", good.data);
    for (size_t len = 0; len <= hint.len; len++)
        extension_hear(&b, hint.data, len);
    buf_fini(&hint);
    buf_init(&hint);
    for (size_t i = 0; i < 2 * EXTENSION_MAX; i++)
        buf_char(&hint, '[');
    extension_hear(&b, hint.data, hint.len);
    buf_fini(&hint);
    buf_fini(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_connections),
        cmocka_unit_test(it_says_who_asked),
        cmocka_unit_test(nobody_else_can_say_so),
        cmocka_unit_test(payloads_are_checked_all_the_same),
        cmocka_unit_test(hints_that_are_none),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
