/* Hints from a channel that anybody may write to. */
#include "worker/control.h"

#include "unit.h"

#define ID "0f8fad5b-d9cb-469f-a165-70867728950e"

static void hints(void **state)
{
    static const struct {
        const char *json;
        bool ok;
    } all[] = {
        {"{\"type\":\"cancel\",\"runId\":\"" ID "\"}", true},
        {"{\"type\":\"cancel\",\"runId\":\"" ID "\",\"more\":[1]}", true},
        {"{\"type\":\"retry\",\"runId\":\"" ID "\"}", false},
        {"{\"type\":\"cancel\",\"runId\":\"x\"}", false},
        {"{\"type\":\"cancel\",\"runId\":\"" ID "0\"}", false},
        {"{\"type\":\"cancel\",\"runId\":7}", false},
        {"{\"type\":\"cancel\"}", false},
        {"[\"cancel\",\"" ID "\"]", false},
        {"", false},
        {"STOP", false},
    };
    char id[37];

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_int_equal(control_parse(all[i].json, strlen(all[i].json), id), all[i].ok);
        if (all[i].ok)
            assert_string_equal(id, ID);
    }
}

static void a_large_hint_is_not_read(void **state)
{
    static char json[1200];
    char id[37];

    (void)state;
    memset(json, ' ', sizeof(json));
    memcpy(json, "{\"type\":\"cancel\",\"runId\":\"" ID "\"}", 64);
    assert_false(control_parse(json, sizeof(json), id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hints),
        cmocka_unit_test(a_large_hint_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
