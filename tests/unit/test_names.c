#include "common/names.h"

#include "unit.h"

static void judges_thread_ids(void **state)
{
    static const char *const good[] = {"t1", "a", "A-Z._9", "...", "-"};
    static const char *const bad[] = {
        "",      "*",    "../",      "a b",      "a/b",          "a\r\nFLUSHALL",
        "a%00b", "t1\n", "\xC3\xA4", "\xD0\xB0", "a{b}",         "a:b",
        "a\x7F", "t1 ",  " t1",      "\xFF",     "\xEF\xBC\xA1",
    };
    char longest[THREAD_ID_MAX + 2];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(thread_id_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(thread_id_valid(bad[i], strlen(bad[i])));
    assert_false(thread_id_valid("a\0b", 3));
    assert_false(thread_id_valid("a", 0));
    memset(longest, 'x', sizeof(longest));
    assert_true(thread_id_valid(longest, THREAD_ID_MAX));
    assert_false(thread_id_valid(longest, THREAD_ID_MAX + 1));
    for (int c = 0; c < 256; c++) {
        char s[1] = {(char)c};
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                  (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
        assert_int_equal(thread_id_valid(s, 1), ok);
        assert_int_equal(word_valid(s, 1), ok || c == ':');
    }
    assert_true(word_valid(longest, 64));
    assert_false(word_valid(longest, 65));
}

static void reads_event_ids(void **state)
{
    static const struct {
        const char *text;
        uint64_t epoch, n;
    } good[] = {
        {"0-0", 0, 0},
        {"1732100000000000-1", UINT64_C(1732100000000000), 1},
        {"9223372036854775807-9223372036854775807", INT64_MAX, INT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "0",
        "-",
        "1-",
        "-1",
        "+1-1",
        "1-+1",
        "01-1",
        "1-01",
        "1--1",
        "1-1-1",
        "1-1 ",
        " 1-1",
        "1-1\r\n",
        "0x1-1",
        "1e3-1",
        "a-b",
        "1.0-1",
        "1,1",
        "*",
        "$",
        "1-*",
        "00-1",
        "1-00",
        "9223372036854775808-1",
        "1-9223372036854775808",
        "18446744073709551616-1",
        "99999999999999999999999999999999-1",
        "\xD9\xA1-1",
    };
    struct event_id id = {7, 7};
    char out[EVENT_ID_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        size_t len = strlen(good[i].text);
        assert_true(event_id_parse(good[i].text, len, &id));
        assert_true(id.epoch == good[i].epoch && id.n == good[i].n);
        assert_int_equal(event_id_format(&id, out), len);
        assert_string_equal(out, good[i].text);
    }
    id = (struct event_id){7, 7};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(event_id_parse(bad[i], strlen(bad[i]), &id));
    assert_false(event_id_parse("1-1\0", 4, &id));
    assert_true(id.epoch == 7 && id.n == 7);
    for (size_t len = 0; len <= 2; len++) /* cut at every byte */
        assert_false(event_id_parse("12-3", len, &id) && len < 4);
}

static void orders_event_ids(void **state)
{
    struct event_id a = {5, 1}, b = {5, 2}, c = {6, 2}, zero = {0, 0};

    (void)state;
    assert_true(event_id_cmp(a, b) < 0 && event_id_cmp(b, a) > 0);
    assert_true(event_id_cmp(b, c) < 0 && event_id_cmp(c, a) > 0);
    assert_int_equal(event_id_cmp(a, a), 0);
    assert_true(event_id_follows(a, b));
    assert_false(event_id_follows(a, c) || event_id_follows(b, a));
    assert_true(event_id_eq(a, a) && !event_id_eq(a, b));
    assert_true(event_id_zero(zero) && !event_id_zero(a));
}

static void names_redis_keys(void **state)
{
    char out[NAMES_KEY_SIZE], prefix[NAMES_PREFIX_MAX + 1], id[THREAD_ID_MAX + 1];
    char hash[65];
    size_t len;

    (void)state;
    assert_int_equal(names_channel(out, "", "t1"), 9);
    assert_string_equal(out, "thread:t1");
    names_log(out, "app:", "t1");
    assert_string_equal(out, "app:{thread:t1}:log");
    names_state(out, "", "t1");
    assert_string_equal(out, "{thread:t1}:state");
    names_once(out, "", "t1", "ab12");
    assert_string_equal(out, "{thread:t1}:once:ab12");

    memset(prefix, 'p', NAMES_PREFIX_MAX);
    memset(id, 'i', THREAD_ID_MAX);
    memset(hash, '0', 64);
    prefix[NAMES_PREFIX_MAX] = id[THREAD_ID_MAX] = hash[64] = '\0';
    len = names_once(out, prefix, id, hash);
    assert_int_equal(len, strlen(out));
    assert_int_equal(len, NAMES_PREFIX_MAX + 8 + THREAD_ID_MAX + 7 + 64);
}

static void reads_channels(void **state)
{
    static const char *const bad[] = {
        "",           "thread:",    "thread",      "Thread:t1",
        "thread:a b", "xthread:t1", "thread:t1\n", "thread:t:1"};
    const char *channel = "p:thread:t1";
    size_t len = 99;

    (void)state;
    assert_ptr_equal(names_thread_of_channel("p:", channel, strlen(channel), &len),
                     channel + 9);
    assert_int_equal(len, 2);
    assert_null(names_thread_of_channel("", channel, strlen(channel), &len));
    assert_null(
        names_thread_of_channel("p:thread:t1:more", channel, strlen(channel), &len));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_null(names_thread_of_channel("", bad[i], strlen(bad[i]), &len));
    for (size_t cut = 0; cut < strlen("thread:x"); cut++)
        assert_null(names_thread_of_channel("", "thread:x", cut, &len));
}

static void makes_uuids(void **state)
{
    static const char *const bad[] = {
        "",
        "0b8e2f1c-1f4e-4f0e-9a50-3a2f6f7d9c1",
        "0b8e2f1c-1f4e-4f0e-9a50-3a2f6f7d9c111",
        "0b8e2f1c01f4e-4f0e-9a50-3a2f6f7d9c11",
        "0b8e2f1g-1f4e-4f0e-9a50-3a2f6f7d9c11",
        "{b8e2f1c-1f4e-4f0e-9a50-3a2f6f7d9c1}",
        "0b8e2f1c-1f4e-4f0e-9a50-3a2f6f7d9c1\n",
    };
    char a[UUID_SIZE], b[UUID_SIZE], instance[INSTANCE_SIZE];

    (void)state;
    uuid_new(a);
    uuid_new(b);
    assert_string_not_equal(a, b);
    assert_true(uuid_valid(a, strlen(a)));
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(uuid_valid(bad[i], strlen(bad[i])));
    a[5] = '\0';
    assert_false(uuid_valid(a, UUID_SIZE - 1));
    instance_new(instance);
    assert_int_equal(strspn(instance, "0123456789abcdef"), 12);
    assert_int_equal(strlen(instance), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_thread_ids), cmocka_unit_test(reads_event_ids),
        cmocka_unit_test(orders_event_ids),  cmocka_unit_test(names_redis_keys),
        cmocka_unit_test(reads_channels),    cmocka_unit_test(makes_uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
