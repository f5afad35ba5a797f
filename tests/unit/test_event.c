#include "common/event.h"

#include "unit.h"

#include <dirent.h>
#include <fcntl.h>

static const struct {
    const char *json;
    enum event_check result;
} rows[] = {
    /* whole events and bare objects */
    {"{}", EVENT_OK},
    {" \t\r\n{ \"a\" : [ ] , \"b\":{ } }\n", EVENT_OK},
    {"{\"type\":\"token\",\"content\":\"hi\"}", EVENT_OK},
    {"{\"type\":\"test\",\"content\":\"hello\"}", EVENT_OK},
    {"{\"type\":\"token\",\"threadId\":\"t1\",\"content\":\"\",\"ts\":1,\"runId\":\"r\","
     "\"agentId\":\"a\",\"messageId\":\"m\",\"attempt\":1,\"id\":\"5-1\"}",
     EVENT_OK},
    {"{\"a\":1,\"a\":2,\"\":0,\"Type\":3,\"Type\":4}", EVENT_OK},
    {"{\"x\":\"\\ud83d\\u0000\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", EVENT_OK},
    {"{\"x\":[0,-0,1.5,-1e9,1E+9,2e-3,0.0,123456789012345678901234567890]}", EVENT_OK},
    {"{\"x\":[true,false,null,\"\xC3\x96\xF0\x9F\x87\xA6\xE2\x80\xA8\x7F\"]}", EVENT_OK},
    {"{\"nested\":{\"type\":1,\"id\":2,\"threadId\":\"other\",\"\\u0074ype\":1}}",
     EVENT_OK},
    {"{\"nested\":{\"a\":1,\"a\":2}}", EVENT_OK},

    /* not JSON */
    {"", EVENT_NOT_JSON},
    {"   ", EVENT_NOT_JSON},
    {"{", EVENT_NOT_JSON},
    {"}", EVENT_NOT_JSON},
    {"{}}", EVENT_NOT_JSON},
    {"{}{}", EVENT_NOT_JSON},
    {"{} x", EVENT_NOT_JSON},
    {"{,}", EVENT_NOT_JSON},
    {"{\"a\":1,}", EVENT_NOT_JSON},
    {"{\"a\":1 \"b\":2}", EVENT_NOT_JSON},
    {"{\"a\" 1}", EVENT_NOT_JSON},
    {"{\"a\":}", EVENT_NOT_JSON},
    {"{\"a\":1]", EVENT_NOT_JSON},
    {"{a:1}", EVENT_NOT_JSON},
    {"{'a':1}", EVENT_NOT_JSON},
    {"{1:1}", EVENT_NOT_JSON},
    {"{\"x\":[1,]}", EVENT_NOT_JSON},
    {"{\"x\":[,1]}", EVENT_NOT_JSON},
    {"{\"x\":[1 2]}", EVENT_NOT_JSON},
    {"{\"x\":[1}", EVENT_NOT_JSON},
    {"{\"x\":01}", EVENT_NOT_JSON},
    {"{\"x\":+1}", EVENT_NOT_JSON},
    {"{\"x\":-}", EVENT_NOT_JSON},
    {"{\"x\":.5}", EVENT_NOT_JSON},
    {"{\"x\":1.}", EVENT_NOT_JSON},
    {"{\"x\":1e}", EVENT_NOT_JSON},
    {"{\"x\":1e+}", EVENT_NOT_JSON},
    {"{\"x\":0x1}", EVENT_NOT_JSON},
    {"{\"x\":NaN}", EVENT_NOT_JSON},
    {"{\"x\":Infinity}", EVENT_NOT_JSON},
    {"{\"x\":True}", EVENT_NOT_JSON},
    {"{\"x\":tru}", EVENT_NOT_JSON},
    {"{\"x\":truee}", EVENT_NOT_JSON},
    {"{\"x\":nul", EVENT_NOT_JSON},
    {"{\"x\":\"a\nb\"}", EVENT_NOT_JSON},
    {"{\"x\":\"a\rb\"}", EVENT_NOT_JSON},
    {"{\"x\":\"a\tb\"}", EVENT_NOT_JSON},
    {"{\"x\":\"a\x1F\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\\x\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\\u12\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\\u12g4\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\\U0000\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\\\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\xFF\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\xC0\x80\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\xED\xA0\x80\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\xF4\x90\x80\x80\"}", EVENT_NOT_JSON},
    {"{\"x\":\"\xE2\x82\"}", EVENT_NOT_JSON},
    {"{\"\xFF\":1}", EVENT_NOT_JSON},
    {"\xEF\xBB\xBF{}", EVENT_NOT_JSON},
    {"{}\f", EVENT_NOT_JSON},
    {"{\"x\":1}//", EVENT_NOT_JSON},
    {"hello", EVENT_NOT_JSON},
    {"[1,", EVENT_NOT_JSON},
    {"[] []", EVENT_NOT_JSON},

    /* JSON, but not an object */
    {"[]", EVENT_NOT_OBJECT},
    {" [{\"type\":\"token\"}] ", EVENT_NOT_OBJECT},
    {"\"x\"", EVENT_NOT_OBJECT},
    {"-1.5e3", EVENT_NOT_OBJECT},
    {"null", EVENT_NOT_OBJECT},

    /* whose is it */
    {"{\"threadId\":\"t1\"}", EVENT_OK},
    {"{\"threadId\":\"t2\"}", EVENT_WRONG_THREAD},
    {"{\"threadId\":\"\"}", EVENT_WRONG_THREAD},
    {"{\"threadId\":\"t11\"}", EVENT_WRONG_THREAD},
    {"{\"threadId\":\"T1\"}", EVENT_WRONG_THREAD},
    {"{\"threadId\":\"\\u00741\"}", EVENT_BAD_FIELD},
    {"{\"threadId\":null}", EVENT_BAD_FIELD},
    {"{\"threadId\":[\"t1\"]}", EVENT_BAD_FIELD},
    {"{\"\\u0074hreadId\":\"t2\"}", EVENT_BAD_FIELD},
    {"{\"any\\nkey\":1}", EVENT_BAD_FIELD},
    {"{\"threadId\":\"t1\",\"threadId\":\"t2\"}", EVENT_DUPLICATE_KEY},
    {"{\"type\":\"x\",\"type\":\"token\"}", EVENT_DUPLICATE_KEY},
    {"{\"content\":1,\"content\":1}", EVENT_DUPLICATE_KEY},
    {"{\"id\":\"5-1\",\"ts\":1,\"id\":\"5-2\"}", EVENT_DUPLICATE_KEY},
    {"{\"type\":\"x\",\"type\":\"token\"", EVENT_NOT_JSON}, /* worse comes first */

    /* the fields of our own types */
    {"{\"type\":\"to\\u006ben\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"content\":{}}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"content\":5}", EVENT_BAD_FIELD},
    {"{\"content\":[],\"type\":\"delta\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"delta\",\"content\":null}", EVENT_BAD_FIELD},
    {"{\"type\":\"status\",\"content\":{\"status\":\"started\"}}", EVENT_OK},
    {"{\"type\":\"error\",\"content\":\"it broke\"}", EVENT_OK},
    {"{\"type\":\"done\",\"ts\":-1}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"ts\":1.0}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"ts\":1e3}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"ts\":\"1\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"ts\":9223372036854775807}", EVENT_OK},
    {"{\"type\":\"done\",\"ts\":9223372036854775808}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"ts\":99999999999999999999}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"attempt\":0}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"attempt\":true}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"runId\":1}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"runId\":\"a\\tb\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"agentId\":null}", EVENT_BAD_FIELD},
    {"{\"type\":\"done\",\"messageId\":{}}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"id\":\"5-0\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"id\":\"0-1\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"id\":\"05-1\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"id\":\"5-1\\n\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"id\":\"5\"}", EVENT_BAD_FIELD},
    {"{\"type\":\"token\",\"id\":5}", EVENT_BAD_FIELD},
    {"{\"id\":\"\",\"type\":\"token\"}", EVENT_BAD_FIELD},

    /* an application's own object may use these words as it likes */
    {"{\"type\":5,\"id\":7,\"ts\":\"now\",\"content\":42,\"runId\":null,\"attempt\":-1}",
     EVENT_OK},
    {"{\"type\":\"chat\",\"id\":\"x y\\n\",\"agentId\":\"\\u0041\"}", EVENT_OK},
};

static enum event_check check(const char *json, size_t len, struct event_view *v)
{
    enum event_check r;
    char *exact = malloc(len + !len); /* so that ASan sees a byte too many */

    memcpy(exact, json, len);
    r = event_check(exact, len, "t1", 2, v);
    free(exact);
    return r;
}

static void knows_good_from_bad(void **state)
{
    struct event_view v;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum event_check r = check(rows[i].json, strlen(rows[i].json), &v);
        if (r != rows[i].result)
            print_error("%s: %s, not %s\n", rows[i].json, event_check_text(r),
                        event_check_text(rows[i].result));
        assert_int_equal(r, rows[i].result);
    }
}

/* A piece of an object is never an object; nothing is read behind the end. */
static void refuses_every_truncation(void **state)
{
    struct event_view v;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].json);
        const char *last = strrchr(rows[i].json, '}');
        for (size_t cut = 0; cut < len; cut++) {
            enum event_check r = check(rows[i].json, cut, &v);
            if (rows[i].json[0] == '{' && rows[i].result != EVENT_NOT_JSON && last &&
                cut <= (size_t)(last - rows[i].json))
                assert_int_equal(r, EVENT_NOT_JSON);
        }
    }
}

/* No single byte makes the check read outside or believe in another thread. */
static void survives_every_changed_byte(void **state)
{
    static const char event[] = "{\"id\":\"5-1\",\"type\":\"token\",\"threadId\":\"t1\","
                                "\"content\":\"\xC3\x96\\n\",\"ts\":1,\"attempt\":1}";
    const size_t len = sizeof(event) - 1;
    char copy[sizeof(event)];
    struct event_view v;

    (void)state;
    for (size_t i = 0; i < len; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(copy, event, sizeof(event));
            copy[i] = (char)c;
            if (check(copy, len, &v) != EVENT_OK)
                continue;
            assert_true(utf8_valid(copy, len));
            assert_true(!v.thread_id.at || v.thread_id.len == 2);
        }
    }
}

static void is_span(struct span s, const char *text)
{
    assert_non_null(s.at);
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.at, text, s.len);
}

static void shows_what_it_found(void **state)
{
    static const char event[] =
        "{\"id\":\"1732100000000000-42\",\"type\":\"token\",\"threadId\":\"t1\","
        "\"extra\":[],"
        "\"content\":\"a\\\"b\",\"ts\":1732100000123,\"runId\":\"r1\",\"agentId\":\"ag\","
        "\"messageId\":\"m1\",\"attempt\":3}";
    struct event_view v;

    (void)state;
    assert_int_equal(event_check(event, strlen(event), "t1", 2, &v), EVENT_OK);
    assert_int_equal(v.type, EVENT_TOKEN);
    assert_true(v.id.epoch == UINT64_C(1732100000000000) && v.id.n == 42);
    is_span(v.id_span, "\"1732100000000000-42\"");
    is_span(v.type_name, "token");
    is_span(v.thread_id, "t1");
    is_span(v.content, "\"a\\\"b\"");
    is_span(v.ts_span, "1732100000123");
    is_span(v.run_id, "r1");
    is_span(v.agent_id, "ag");
    is_span(v.message_id, "m1");
    assert_true(v.ts == INT64_C(1732100000123) && v.attempt == 3);
    assert_false(v.has_line_break);

    memset(&v, 7, sizeof(v));
    assert_int_equal(event_check("{\"x\":\n1}", 8, "t1", 2, &v), EVENT_OK);
    assert_int_equal(v.type, EVENT_OTHER);
    assert_true(event_id_zero(v.id) && !v.id_span.at && !v.content.at && !v.thread_id.at);
    assert_true(v.ts == 0 && v.attempt == 0 && v.has_line_break);
}

static void notices_line_breaks_between_tokens(void **state)
{
    static const char event[] = "_{_\"a\"_:_[_1_,_{_}_]_,_\"b\"_:_\"x\"_}_";
    struct event_view v;

    (void)state;
    for (size_t i = 0; i < strlen(event); i++) {
        char copy[sizeof(event)];
        if (event[i] != '_')
            continue;
        for (size_t j = 0; j < sizeof(event); j++)
            copy[j] = event[j] == '_' ? ' ' : event[j];
        assert_int_equal(check(copy, strlen(copy), &v), EVENT_OK);
        assert_false(v.has_line_break);
        for (int cr = 0; cr <= 1; cr++) {
            copy[i] = cr ? '\r' : '\n';
            assert_int_equal(check(copy, strlen(copy), &v), EVENT_OK);
            assert_true(v.has_line_break);
        }
    }
}

static void add_nested(struct buf *b, size_t depth, bool arrays)
{
    buf_clear(b);
    buf_str(b, "{\"x\":");
    for (size_t i = 1; i < depth; i++)
        buf_str(b, arrays ? "[" : "{\"x\":");
    buf_str(b, arrays ? "" : "1");
    for (size_t i = 1; i < depth; i++)
        buf_char(b, arrays ? ']' : '}');
    buf_str(b, arrays && depth == 1 ? "1}" : "}");
}

static void limits_depth_and_size(void **state)
{
    static const size_t depths[] = {1, 2, EVENT_MAX_DEPTH, EVENT_MAX_DEPTH + 1,
                                    100000 / 6};
    struct event_view v;
    struct buf b;

    (void)state;
    buf_init(&b);
    for (size_t i = 0; i < COUNT(depths); i++) {
        for (int arrays = 0; arrays <= 1; arrays++) {
            add_nested(&b, depths[i], arrays);
            assert_int_equal(check(b.data, b.len, &v),
                             depths[i] <= EVENT_MAX_DEPTH ? EVENT_OK : EVENT_TOO_DEEP);
        }
    }
    buf_clear(&b);
    buf_str(&b, "{\"x\":\"");
    while (!b.failed && b.len < EVENT_MAX_BYTES - 2)
        buf_char(&b, 'x');
    buf_str(&b, "\"}");
    assert_int_equal(check(b.data, b.len, &v), EVENT_OK);
    buf_char(&b, ' ');
    assert_int_equal(check(b.data, b.len, &v), EVENT_TOO_LARGE);
    buf_fini(&b);
}

static void refuses_nul(void **state)
{
    struct event_view v;

    (void)state;
    assert_int_equal(check("{\"x\":\"\0\"}", 9, &v), EVENT_NOT_JSON);
    assert_int_equal(check("{}\0", 3, &v), EVENT_NOT_JSON);
    assert_int_equal(check("\0{}", 3, &v), EVENT_NOT_JSON);
    assert_int_equal(check("{\"x\":\0"
                           "1}",
                           8, &v),
                     EVENT_NOT_JSON);
}

/* A seed's name begins with what is to be said about it. */
static void answers_the_corpus(void **state)
{
    static const struct {
        const char *prefix;
        enum event_check result;
    } answers[] = {
        {"ok-", EVENT_OK},
        {"not_json-", EVENT_NOT_JSON},
        {"not_object-", EVENT_NOT_OBJECT},
        {"too_deep-", EVENT_TOO_DEEP},
        {"duplicate_key-", EVENT_DUPLICATE_KEY},
        {"bad_field-", EVENT_BAD_FIELD},
        {"wrong_thread-", EVENT_WRONG_THREAD},
    };
    static char data[65536];
    DIR *dir = opendir(THREADCAST_SOURCE_DIR "/tests/fuzz/corpus/event");
    struct event_view v;
    struct dirent *entry;
    size_t known = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        for (size_t i = 0; i < COUNT(answers); i++) {
            FILE *f;
            if (strncmp(entry->d_name, answers[i].prefix, strlen(answers[i].prefix)) != 0)
                continue;
            f = fdopen(openat(dirfd(dir), entry->d_name, O_RDONLY), "rb");
            assert_non_null(f);
            if (check(data, fread(data, 1, sizeof(data), f), &v) != answers[i].result)
                fail_msg("%s", entry->d_name);
            fclose(f);
            known++;
        }
    }
    closedir(dir);
    assert_true(known >= 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_good_from_bad),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(survives_every_changed_byte),
        cmocka_unit_test(shows_what_it_found),
        cmocka_unit_test(notices_line_breaks_between_tokens),
        cmocka_unit_test(limits_depth_and_size),
        cmocka_unit_test(refuses_nul),
        cmocka_unit_test(answers_the_corpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
