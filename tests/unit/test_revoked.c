/* revoked: what the body of POST /v1/revoke may say, and whom a revocation covers. */
#include "bridge/identity.h"
#include "bridge/revoked.h"
#include "common/json.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1700000000123)
#define KEEP_MS 60000

static struct revoked *set;

static int setup(void **state)
{
    (void)state;
    set = revoked_new(KEEP_MS);
    return set ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    revoked_free(set);
    return 0;
}

static bool parse(const char *body, struct revocation *ret)
{
    const char *why = NULL;
    json_t *json = json_read(body, strlen(body), 0, NULL);
    bool ok = revocation_parse(json, NOW_MS, ret, &why);
    torture_verdict(ok);
    assert_true(ok || why);
    json_decref(json);
    return ok;
}

static void bodies(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"sub\":\"a\",\"jti\":\"b\"}",
        "{\"sub\":null}",
        "{\"sub\":\"\"}",
        "{\"sub\":\"a\\n\"}",
        "{\"jti\":7}",
        "{\"jti\":\"a\",\"before\":1}",
        "{\"sub\":\"a\",\"before\":\"1\"}",
        "{\"sub\":\"a\",\"before\":1.5}",
        "{\"sub\":\"a\",\"before\":-1}",
        "{\"sub\":\"a\",\"before\":1700000031}",
        "{\"sub\":\"a\",\"before\":9223372036854775807}",
    };
    struct revocation r;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parse(bad[i], &r));
    assert_true(parse("{\"sub\":\"ann\"}", &r));
    assert_string_equal(r.name, "s:ann");
    assert_int_equal(r.before_ms, INT64_C(1700000000999)); /* all of the second */
    assert_true(parse("{\"jti\":\"x:y\"}", &r));
    assert_string_equal(r.name, "j:x:y");
    assert_true(parse("{\"sub\":\"a\",\"before\":1600000000}", &r));
    assert_int_equal(r.before_ms, INT64_C(1600000000999));
}

static void names_have_a_limit(void **state)
{
    char text[SUB_MAX + 2];
    struct revocation r;
    (void)state;
    memset(text, 'a', sizeof(text));
    assert_true(revocation_set(&r, 's', text, SUB_MAX, 1));
    assert_int_equal(strlen(r.name), SUB_MAX + 2);
    assert_false(revocation_set(&r, 's', text, SUB_MAX + 1, 1));
    assert_false(revocation_set(&r, 'x', text, 1, 1));
    assert_false(revocation_set(&r, 's', NULL, 0, 1));
}

static enum revoked_news revoke(char kind, const char *text, int64_t before_ms)
{
    struct revocation r;
    assert_true(revocation_set(&r, kind, text, strlen(text), before_ms));
    enum revoked_news news = revoked_add(set, &r, 1);
    assert_int_not_equal(news, REVOKED_NO_MEMORY); /* whoever asked tries again */
    return news;
}

static bool covered(const char *sub, int64_t issued_ms, const char *jti, const char *by,
                    int64_t by_issued_ms)
{
    struct identity *id = identity_new(sub, strlen(sub), INT64_MAX, 1);
    assert_non_null(id);
    id->issued_ms = issued_ms;
    id->jti = jti ? strdup(jti) : NULL;
    id->by = by ? strdup(by) : NULL;
    assert_true((!jti || id->jti) && (!by || id->by));
    id->by_issued_ms = by_issued_ms;
    bool found = revoked_covers(set, id);
    torture_verdict(!found);
    identity_unref(id);
    return found;
}

static void whom_it_covers(void **state)
{
    (void)state;
    assert_false(covered("ann", -1, "j", "svc", -1));
    assert_int_equal(revoke('s', "ann", 1000), REVOKED_NEW);
    assert_true(covered("ann", 1000, NULL, NULL, -1));
    assert_true(covered("ann", -1, NULL, NULL, -1)); /* nobody said when: older */
    assert_false(covered("ann", 1001, NULL, NULL, -1));
    assert_false(covered("bob", 0, "ann", NULL, -1)); /* a jti is no subject */
    assert_int_equal(revoke('j', "j1", 5), REVOKED_NEW);
    assert_true(covered("bob", 9999, "j1", NULL, -1)); /* whenever it was issued */
    assert_false(covered("j1", 0, "j2", NULL, -1));
    assert_int_equal(revoke('s', "svc", 2000), REVOKED_NEW);
    assert_true(covered("bob", 9999, NULL, "svc", 2000));
    assert_false(covered("bob", 0, NULL, "svc", 2001));
    assert_int_equal(revoked_count(set), 3);
}

static void it_only_moves_forward(void **state)
{
    (void)state;
    assert_int_equal(revoke('s', "ann", 1000), REVOKED_NEW);
    assert_int_equal(revoke('s', "ann", 1000), REVOKED_OLD);
    assert_int_equal(revoke('s', "ann", 500), REVOKED_OLD);
    assert_true(covered("ann", 1000, NULL, NULL, -1));
    assert_int_equal(revoke('s', "ann", 1500), REVOKED_NEW);
    assert_true(covered("ann", 1500, NULL, NULL, -1));
    assert_int_equal(revoked_count(set), 1);
}

static void it_has_its_time(void **state)
{
    (void)state;
    revoke('s', "ann", 1000);
    revoke('s', "bob", 2000);
    revoked_purge(set, 1000 + KEEP_MS);
    assert_int_equal(revoked_count(set), 2);
    revoked_purge(set, 1001 + KEEP_MS);
    assert_int_equal(revoked_count(set), 1);
    assert_false(covered("ann", 0, NULL, NULL, -1));
    assert_true(covered("bob", 0, NULL, NULL, -1));
}

static void what_redis_has_lost_is_found(void **state)
{
    struct revocation r;
    (void)state;
    revoke('s', "ann", 1000);
    revoke('s', "bob", 1000);
    revoke('s', "cy", 1000);
    assert_true(revocation_set(&r, 's', "bob", 3, 1000));
    assert_int_equal(revoked_add(set, &r, 2), REVOKED_OLD);
    assert_true(revocation_set(&r, 's', "cy", 2, 999)); /* it knows less */
    assert_int_equal(revoked_add(set, &r, 2), REVOKED_OLD);
    bool ann = false, cy = false;
    for (int i = 0; i < 2; i++) {
        assert_true(revoked_missing(set, 2, &r));
        assert_int_equal(r.before_ms, 1000);
        ann |= !strcmp(r.name, "s:ann");
        cy |= !strcmp(r.name, "s:cy");
    }
    assert_true(ann && cy);
    assert_false(revoked_missing(set, 2, &r));
}

static void nobody_is_let_in_before_it_is_known(void **state)
{
    (void)state;
    assert_false(revoked_known(set));
    revoked_set_known(set);
    assert_true(revoked_known(set));
}

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),
        cmocka_unit_test(names_have_a_limit),
        fresh(whom_it_covers),
        fresh(it_only_moves_forward),
        fresh(it_has_its_time),
        fresh(what_redis_has_lost_is_found),
        fresh(nobody_is_let_in_before_it_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
