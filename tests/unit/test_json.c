/* What json_read says, and that a parse without memory ends as just that. The torture
 * test makes every allocation of it fail: jansson by itself then writes beyond buffers.
 */
#include "common/json.h"

#include "common/buf.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static void what_is_json(void **state)
{
    enum json_trouble trouble = JSON_NO_MEMORY;
    json_t *value = json_read("{\"a\":[1,\"b\",null]}", 18, 0, &trouble);
    (void)state;

    assert_int_equal(trouble, JSON_FINE);
    assert_int_equal(json_array_size(json_object_get(value, "a")), 3);
    json_decref(value);
}

static void what_is_none(void **state)
{
    static const char *const NONE[] = {"",  "{",       "[1,]", "{\"a\":1,\"a\":2}",
                                       "1", "\"\xff\""};
    enum json_trouble trouble;
    (void)state;

    for (size_t i = 0; i < sizeof(NONE) / sizeof(*NONE); i++) {
        assert_null(
            json_read(NONE[i], strlen(NONE[i]), JSON_REJECT_DUPLICATES, &trouble));
        assert_int_equal(trouble, JSON_MALFORMED);
    }
    assert_null(json_read(NULL, 0, 0, NULL));
}

/* Strings of each length: the lexer does not look when its buffer cannot grow, and reads
 * on behind it when that happens at the closing quote. */
static void strings_of_each_length(void **state)
{
    struct buf text;
    json_t *value;
    (void)state;

    for (size_t len = 1; len < 80; len++) {
        buf_init(&text);
        buf_printf(&text, "[\"%0*d\"]", (int)len, 0);
        value = json_read(text.data, text.len, 0, NULL);
        assert_int_equal(json_string_length(json_array_get(value, 0)), len);
        json_decref(value);
        buf_fini(&text);
    }
}

/* More blocks than a parse has room for at first, and what it prints is free()'s. */
static void large_trees(void **state)
{
    struct buf text;
    json_t *value;
    char *printed;
    (void)state;

    buf_init(&text);
    for (int i = 0; i < 120; i++)
        buf_printf(&text, "%c{\"k%d\":\"%d\"}", i ? ',' : '[', i, i);
    buf_str(&text, "]");
    value = json_read(text.data, text.len, 0, NULL);
    printed = json_dumps(value, JSON_COMPACT);
    assert_string_equal(printed, text.data);
    free(printed);
    json_decref(value);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(strings_of_each_length),
        cmocka_unit_test(large_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
