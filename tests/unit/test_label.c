/* label: what goes in comes out as it was, whatever it is kept as. */
#include "bridge/label.h"

#include "unit.h"

static uint8_t same(const char *text)
{
    union label label;
    char out[UUID_SIZE];
    uint8_t kind = label_set(&label, text);

    if (kind != LABEL_NONE) /* torture: no memory is no label */
        assert_string_equal(label_text(&label, kind, out), text);
    label_fini(&label, kind);
    return kind;
}

static void uuids(void **state)
{
    char text[UUID_SIZE];

    (void)state;
    assert_int_equal(same("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), LABEL_UUID);
    assert_int_equal(same("00000000-0000-0000-0000-000000000000"), LABEL_UUID);
    assert_int_equal(same("ffffffff-ffff-ffff-ffff-ffffffffffff"), LABEL_UUID);
    for (int i = 0; i < 100; i++) {
        uuid_new(text);
        assert_int_equal(same(text), LABEL_UUID);
    }
}

static void others(void **state)
{
    static const char *const texts[] = {
        "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", /* would come back in lower case */
        "f81d4fae-7dec-11d0-a765-00a0c91e6bF6",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf66",
        "f81d4fae:7dec-11d0-a765-00a0c91e6bf6",
        "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "1-67891233:abc/D+e=@f.g_",
        "x"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (same(texts[i]) == LABEL_UUID)
            fail_msg("%s is kept as a UUID", texts[i]);
}

static void none(void **state)
{
    union label label;
    char out[UUID_SIZE];

    (void)state;
    assert_int_equal(label_set(&label, NULL), LABEL_NONE);
    assert_int_equal(label_set(&label, ""), LABEL_NONE);
    assert_null(label_text(&label, LABEL_NONE, out));
    label_fini(&label, LABEL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuids),
        cmocka_unit_test(others),
        cmocka_unit_test(none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
