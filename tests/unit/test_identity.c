/* identity: what grants cover, and the games people play with '*'. */
#include "bridge/identity.h"
#include "common/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct identity *with_grants(const char *read, const char *write)
{
    struct identity *id = identity_new("ann", 3, INT64_MAX, INT64_MAX);
    assert_non_null(id);
    if (read) {
        json_t *list = json_read(read, strlen(read), 0, NULL);
        assert_true(grants_parse(list, true, &id->read));
        json_decref(list);
    }
    if (write) {
        json_t *list = json_read(write, strlen(write), 0, NULL);
        assert_true(grants_parse(list, true, &id->write));
        json_decref(list);
    }
    return id;
}

static bool parses(const char *json, bool prefixes)
{
    char **list = NULL;
    json_t *array = json_read(json, strlen(json), JSON_DECODE_ANY, NULL);
    assert_non_null(array);
    bool ok = grants_parse(array, prefixes, &list);
    assert_int_equal(ok, list != NULL);
    grants_free(list);
    json_decref(array);
    return ok;
}

static void a_list_is_ids_and_prefixes(void **state)
{
    static const char *const good[] = {"[]", "[\"t1\"]", "[\"*\"]", "[\"a.b_c-d*\"]",
                                       "[\"a\",\"b*\",\"*\"]"};
    static const char *const bad[] = {
        "{}",
        "\"*\"",
        "null",
        "[\"\"]",
        "[\"**\"]",
        "[\"a**\"]",
        "[\"*a\"]",
        "[\"a*b\"]",
        "[\"a*b*\"]",
        "[\"a *\"]",
        "[\"a/*\"]",
        "[\"a:*\"]",
        "[\"a\\\\*\"]",
        "[1]",
        "[null]",
        "[\"a\",2]",
        "[\"t1\",[\"t2\"]]",
        "[\"\xef\xbc\x8a\"]",
        "[\"a\\n*\"]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(parses(good[i], true));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parses(bad[i], true));
    assert_true(parses("[\"t1\"]", false));
    assert_false(parses("[\"*\"]", false));
    assert_false(parses("[\"t*\"]", false));
}

static void a_list_has_256_entries(void **state)
{
    (void)state;
    for (size_t n = 255; n <= 257; n++) {
        char **list = NULL;
        json_t *array = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(array, json_string("t1"));
        assert_int_equal(grants_parse(array, true, &list), n <= 256);
        grants_free(list);
        json_decref(array);
    }
}

static void an_id_is_as_long_as_a_thread_id(void **state)
{
    char text[160];
    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "[\"", 2);
    memcpy(text + 2 + 128, "*\"]", 4);
    assert_true(parses(text, true)); /* 128 bytes and the star */
    memcpy(text + 2 + 128, "a\"]", 4);
    assert_false(parses(text, true));
    memcpy(text + 2 + 128, "a*\"]", 5);
    assert_false(parses(text, true));
}

static void ids_are_compared_whole(void **state)
{
    struct identity *id = with_grants("[\"t1\",\"room-7\"]", NULL);
    (void)state;
    assert_true(identity_reads(id, "t1"));
    assert_true(identity_reads(id, "room-7"));
    assert_false(identity_reads(id, "t"));
    assert_false(identity_reads(id, "t11"));
    assert_false(identity_reads(id, "T1"));
    assert_false(identity_reads(id, ""));
    assert_false(identity_reads(id, "t1*"));
    assert_false(identity_writes(id, "t1"));
    identity_unref(id);
}

static void prefixes_cover_what_begins_so(void **state)
{
    struct identity *id = with_grants("[\"ann-*\"]", "[\"x*\"]");
    (void)state;
    assert_true(identity_reads(id, "ann-"));
    assert_true(identity_reads(id, "ann-1"));
    assert_true(identity_reads(id, "ann-*")); /* were it an id */
    assert_false(identity_reads(id, "ann"));
    assert_false(identity_reads(id, "anna-1"));
    assert_false(identity_reads(id, "Ann-1"));
    assert_false(identity_reads(id, "x1"));
    assert_true(identity_writes(id, "x1"));
    assert_true(identity_writes(id, "x"));
    assert_false(identity_writes(id, "ann-1"));
    identity_unref(id);
}

static void a_star_alone_covers_all(void **state)
{
    struct identity *id = with_grants("[\"*\"]", NULL);
    (void)state;
    assert_true(identity_reads(id, "t1"));
    assert_true(identity_reads(id, "a"));
    assert_false(identity_writes(id, "t1"));
    identity_unref(id);
}

static void no_grants_cover_nothing(void **state)
{
    struct identity *none = with_grants(NULL, NULL), *empty = with_grants("[]", "[]");
    (void)state;
    assert_false(identity_reads(none, "t1") || identity_writes(none, "t1"));
    assert_false(identity_reads(empty, "t1") || identity_writes(empty, "t1"));
    assert_true(identity_may_own(none, "t1"));
    identity_unref(none);
    identity_unref(empty);
}

static void everything_covers_everything(void **state)
{
    struct identity *id = with_grants(NULL, NULL);
    (void)state;
    id->everything = true;
    assert_true(identity_reads(id, "t1") && identity_writes(id, "t1"));
    identity_unref(id);
}

static void a_ticket_reads_what_it_names(void **state)
{
    struct identity *id = with_grants("[\"t1\"]", "[\"t1\"]");
    json_t *list = json_read("[\"t2\"]", strlen("[\"t2\"]"), 0, NULL);
    (void)state;
    id->ticket = true;
    assert_true(grants_parse(list, false, &id->owned));
    json_decref(list);
    assert_true(identity_reads(id, "t1"));
    assert_false(identity_reads(id, "t2")); /* by grant: no, by ownership: maybe */
    assert_true(identity_may_own(id, "t2"));
    assert_false(identity_may_own(id, "t1"));
    assert_false(identity_may_own(id, "t3"));
    assert_false(identity_writes(id, "t1"));
    identity_unref(id);
}

static void subjects(void **state)
{
    char text[300];
    (void)state;
    memset(text, 'a', sizeof(text));
    assert_true(sub_valid(text, 1) && sub_valid(text, 256));
    assert_false(sub_valid(text, 0) || sub_valid(text, 257));
    assert_false(sub_valid("a\0b", 3) || sub_valid("a\nb", 3) || sub_valid("\x7f", 1));
    assert_false(sub_valid("\xff", 1) || sub_valid("a\xc3", 2));
    assert_true(sub_valid("guest:\xf0\x9f\x98\x80", 10));
    assert_null(identity_new("a\n", 2, 1, 1));
}

static void references_are_counted(void **state)
{
    struct identity *id = with_grants("[\"a\"]", "[\"b\"]");
    (void)state;
    assert_ptr_equal(identity_ref(id), id);
    identity_unref(id);
    assert_string_equal(id->sub, "ann");
    identity_unref(id);
    identity_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_ids_and_prefixes),
        cmocka_unit_test(a_list_has_256_entries),
        cmocka_unit_test(an_id_is_as_long_as_a_thread_id),
        cmocka_unit_test(ids_are_compared_whole),
        cmocka_unit_test(prefixes_cover_what_begins_so),
        cmocka_unit_test(a_star_alone_covers_all),
        cmocka_unit_test(no_grants_cover_nothing),
        cmocka_unit_test(everything_covers_everything),
        cmocka_unit_test(a_ticket_reads_what_it_names),
        cmocka_unit_test(subjects),
        cmocka_unit_test(references_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
