/* authorized: what an authorizer's answer makes of a request; nothing that is not wholly
 * understood is a yes. */
#include "bridge/authorized.h"
#include "bridge/identity.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1700000000500)
#define MAX_MS 60000

static enum authorize_state read_answer(int status, const char *body,
                                        struct identity **ret, int64_t *ret_until_ms)
{
    enum authorize_state state =
        authorized_read(status, body, strlen(body), NOW_MS, MAX_MS, ret, ret_until_ms);
    torture_verdict(state == AUTHORIZE_YES);
    return state;
}

static void a_yes_says_who_and_what(void **state)
{
    struct identity *id = NULL;
    int64_t until = 0;
    (void)state;
    assert_int_equal(read_answer(200,
                                 "{\"sub\":\"ann\",\"read\":[\"t*\"],\"write\":[\"w\"],"
                                 "\"exp\":1700000030,\"more\":1}",
                                 &id, &until),
                     AUTHORIZE_YES);
    assert_string_equal(id->sub, "ann");
    assert_true(id->foreign);
    assert_false(id->everything || id->ticket || id->may_revoke || id->may_ticket);
    assert_true(identity_reads(id, "t1") && identity_writes(id, "w"));
    assert_false(identity_reads(id, "w") || identity_writes(id, "t1"));
    assert_int_equal(id->expires_ms, INT64_C(1700000030000));
    assert_int_equal(until, INT64_C(1700000030000));
    assert_int_equal(id->issued_ms, NOW_MS);
    identity_unref(id);
    /* far away: kept no longer than it may be, but good until then */
    id = NULL;
    assert_int_equal(
        read_answer(200, "{\"sub\":\"ann\",\"exp\":1800000000}", &id, &until),
        AUTHORIZE_YES);
    assert_int_equal(id->expires_ms, INT64_C(1800000000000));
    assert_int_equal(until, NOW_MS + MAX_MS);
    assert_null(id->read);
    identity_unref(id);
    id = NULL;
    assert_int_equal(read_answer(200, "{\"sub\":\"ann\"}", &id, &until), AUTHORIZE_YES);
    assert_int_equal(id->expires_ms, NOW_MS + MAX_MS); /* no end: a short one */
    identity_unref(id);
}

static void everything_else_is_none(void **state)
{
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "\"ann\"",
        "{}",
        "{\"sub\":\"\"}",
        "{\"sub\":null}",
        "{\"sub\":\"a\\u0000b\"}",
        "{\"sub\":\"ann\"",
        "{\"sub\":\"ann\"}x",
        "{\"sub\":\"ann\",\"sub\":\"bob\"}",
        "{\"sub\":\"ann\",\"exp\":null}",
        "{\"sub\":\"ann\",\"exp\":\"1800000000\"}",
        "{\"sub\":\"ann\",\"exp\":1800000000.5}",
        "{\"sub\":\"ann\",\"exp\":1700000000}",
        "{\"sub\":\"ann\",\"exp\":-1}",
        "{\"sub\":\"ann\",\"exp\":9223372036854775807}",
        "{\"sub\":\"ann\",\"read\":null}",
        "{\"sub\":\"ann\",\"read\":\"*\"}",
        "{\"sub\":\"ann\",\"read\":[\"a**\"]}",
        "{\"sub\":\"ann\",\"write\":{}}",
    };
    static const int statuses[] = {0, 100, 201, 204, 206, 302, 400, 404, 429, 500, 503};
    struct identity *id = NULL;
    int64_t until;
    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        assert_int_equal(read_answer(200, bodies[i], &id, &until), AUTHORIZE_FAILED);
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        assert_int_equal(read_answer(statuses[i], "{\"sub\":\"ann\"}", &id, &until),
                         AUTHORIZE_FAILED);
    assert_int_equal(read_answer(401, "{\"sub\":\"ann\"}", &id, &until),
                     AUTHORIZE_UNAUTHORIZED);
    assert_int_equal(read_answer(403, "{\"sub\":\"ann\"}", &id, &until),
                     AUTHORIZE_FORBIDDEN);
    assert_null(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_yes_says_who_and_what),
        cmocka_unit_test(everything_else_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
