/* pages: when a position is good, and what an entry must look like. */
#include "bridge/pages.h"

#include "bridge/state_word.h"
#include "common/redis.h"
#include "unit.h"

static struct redis_reply string(const char *s)
{
    return (struct redis_reply){.type = REDIS_STRING, .str = s, .len = strlen(s)};
}

/* One entry [id, [field, value]] */
struct entry {
    struct redis_reply id, name, value, fields, whole;
    struct redis_reply *field_items[2], *items[2];
};

static void make(struct entry *e, const char *id, const char *name, const char *value)
{
    e->id = string(id);
    e->name = string(name);
    e->value = string(value);
    e->field_items[0] = &e->name;
    e->field_items[1] = &e->value;
    e->fields =
        (struct redis_reply){.type = REDIS_ARRAY, .count = 2, .items = e->field_items};
    e->items[0] = &e->id;
    e->items[1] = &e->fields;
    e->whole = (struct redis_reply){.type = REDIS_ARRAY, .count = 2, .items = e->items};
}

static bool proves(const char *first, const char *pos_text)
{
    struct entry e;
    struct redis_reply *items[1] = {&e.whole};
    struct redis_reply page = {
        .type = REDIS_ARRAY, .count = first ? 1 : 0, .items = items};
    struct event_id pos = {0, 0};
    if (first)
        make(&e, first, "e", "{}");
    if (strcmp(pos_text, "0") != 0)
        assert_true(event_id_parse(pos_text, strlen(pos_text), &pos));
    return page_proves(&page, pos);
}

static void test_good_positions(void **state)
{
    (void)state;
    assert_true(proves("17-3", "17-3")); /* its own entry */
    assert_true(proves("17-4", "17-3")); /* trimmed up to and with it */
    assert_true(proves("17-1", "17-0")); /* before the first of an epoch */
    assert_true(proves(NULL, "0"));      /* all that is kept: nothing */
    assert_true(proves("17-400", "0"));
}

static void test_lost_positions(void **state)
{
    (void)state;
    assert_false(proves("17-5", "17-3")); /* 4 was trimmed unseen */
    assert_false(proves("18-1", "17-3")); /* another epoch: what lies between? */
    assert_false(proves("18-4", "17-3"));
    assert_false(proves(NULL, "17-3")); /* the future, or a log that was lost */
}

static void test_entries(void **state)
{
    (void)state;
    static const struct {
        const char *id, *name, *value;
        bool entry, event;
    } rows[] = {
        {"17-3", "e",
         "{\"id\":\"17-3\",\"type\":\"token\",\"threadId\":\"t1\","
         "\"content\":\"x\",\"ts\":1}",
         true, true},
        {"17-3", "e",
         "{\"id\":\"17-4\",\"type\":\"token\",\"threadId\":\"t1\","
         "\"content\":\"x\",\"ts\":1}",
         true, false}, /* another id */
        {"17-3", "e",
         "{\"id\":\"17-3\",\"type\":\"token\",\"threadId\":\"t2\","
         "\"content\":\"x\",\"ts\":1}",
         true, false}, /* another thread */
        {"17-3", "e", "no json", true, false},
        {"17-3", "other", "{}", true, false},
        {"0-x", "e", "{}", false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct entry e;
        struct redis_reply *items[1] = {&e.whole};
        struct redis_reply page = {.type = REDIS_ARRAY, .count = 1, .items = items};
        struct event_id id;
        struct span json;
        struct event_view view;
        make(&e, rows[i].id, rows[i].name, rows[i].value);
        assert_int_equal(page_entry(&page, 0, "t1", &id, &json, &view), rows[i].entry);
        if (rows[i].entry)
            assert_int_equal(json.at != NULL, rows[i].event);
    }
}

static void test_words_of_a_state_field(void **state)
{
    (void)state;
    struct event_id id;
    const char *live = "2 7 17-3 worker-1";
    assert_true(state_word_id(live, strlen(live), 2, &id));
    assert_true(id.epoch == 17 && id.n == 3);
    const char *ended = "1 17-3 17-90";
    assert_true(state_word_id(ended, strlen(ended), 2, &id));
    assert_true(id.n == 90);
    assert_false(state_word_id(ended, strlen(ended), 3, &id));
    assert_false(state_word_id("", 0, 1, &id));
    assert_false(state_word_id("1 x y", 5, 1, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_positions),
        cmocka_unit_test(test_lost_positions),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_words_of_a_state_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
