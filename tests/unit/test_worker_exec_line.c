/* Bytes to lines to what an agent may say; split at every byte. */
#include "worker/agents/exec_line.h"

#include "unit.h"

/* Lines as "<line>|", a too long one as "LONG|". */
static bool collect(const char *line, size_t len, void *arg)
{
    struct buf *out = arg;

    if (line)
        buf_add(out, line, len);
    else
        buf_str(out, "LONG");
    buf_char(out, '|');
    return true;
}

static void feed_split(const char *input, size_t len, size_t at, size_t max,
                       const char *expected)
{
    struct exec_lines l;
    struct buf out;

    exec_lines_init(&l, max);
    buf_init(&out);
    buf_str(&out, "");
    exec_lines_feed(&l, input, at, collect, &out);
    exec_lines_feed(&l, input + at, len - at, collect, &out);
    exec_lines_end(&l, collect, &out);
    assert_string_equal(out.data ? out.data : "", expected);
    exec_lines_fini(&l);
    buf_fini(&out);
}

static void lines_split_at_every_byte(void **state)
{
    static const char input[] = "one\n\ntwo\r\n0123456789\nthree, much too long\nfour";
    static const char expected[] = "one||two|0123456789|LONG|four|";

    (void)state;
    for (size_t at = 0; at < sizeof(input); at++)
        feed_split(input, sizeof(input) - 1, at < sizeof(input) - 1 ? at : 0, 10,
                   expected);
}

static void one_byte_at_a_time(void **state)
{
    static const char input[] = "abc\nabcdef\n\nx\n";
    struct exec_lines l;
    struct buf out;

    (void)state;
    exec_lines_init(&l, 4);
    buf_init(&out);
    for (size_t i = 0; i < sizeof(input) - 1; i++)
        exec_lines_feed(&l, input + i, 1, collect, &out);
    exec_lines_end(&l, collect, &out);
    assert_string_equal(out.data, "abc|LONG||x|");
    exec_lines_fini(&l);
    buf_fini(&out);
}

static bool stop_at_first(const char *line, size_t len, void *arg)
{
    collect(line, len, arg);
    return false;
}

static void a_reader_may_stop(void **state)
{
    struct exec_lines l;
    struct buf out;

    (void)state;
    exec_lines_init(&l, 100);
    buf_init(&out);
    exec_lines_feed(&l, "a\nb\nc\n", 6, stop_at_first, &out);
    assert_string_equal(out.data, "a|");
    exec_lines_fini(&l);
    buf_fini(&out);
}

struct expectation {
    const char *line;
    enum exec_said said;
    const char *text, *json, *kind;
};

static void check(const struct expectation *e, const char *line, size_t len)
{
    struct exec_line l;

    exec_line_parse(line, len, &l);
    if (l.said != e->said)
        print_message("%.*s: %s\n", (int)len, line, l.why ? l.why : "");
    assert_int_equal(l.said, e->said);
    if (e->text)
        assert_string_equal(l.text.len > 0 ? l.text.data : "", e->text);
    if (e->json)
        assert_string_equal(l.json.data, e->json);
    if (e->kind)
        assert_string_equal(l.kind, e->kind);
    exec_line_fini(&l);
}

static void what_an_agent_may_say(void **state)
{
    static const struct expectation all[] = {
        {"{\"type\":\"token\",\"content\":\"Hel\\u00e4\"}", EXEC_TOKEN, "Helä", NULL,
         NULL},
        {"{\"type\":\"token\",\"content\":\"\"}", EXEC_TOKEN, "", NULL, NULL},
        {"{\"content\":\"x\",\"id\":\"9-9\",\"runId\":\"forged\",\"attempt\":99,"
         "\"threadId\":\"other\",\"type\":\"token\"}",
         EXEC_TOKEN, "x", NULL, NULL},
        {" {\"type\":\"token\" , \"content\":\"\xff\"} ", EXEC_TOKEN, "\xef\xbf\xbd",
         NULL, NULL},
        {"{\"type\":\"delta\",\"content\":{\"kind\":\"reasoning\",\"text\":\"hm\"}}",
         EXEC_REASONING, "hm", NULL, NULL},
        {"{\"type\":\"delta\",\"content\":{\"kind\":\"reasoning\",\"text\":\"a\",\"n\":1}"
         "}",
         EXEC_DELTA, NULL, "{\"kind\":\"reasoning\",\"text\":\"a\",\"n\":1}",
         "reasoning"},
        {"{\"type\":\"delta\",\"content\":{\"kind\":\"mine\",\"a\": [1, 2.5, null]}}",
         EXEC_DELTA, NULL, "{\"kind\":\"mine\",\"a\":[1,2.5,null]}", "mine"},
        {"{\"type\":\"status\",\"content\":\"thinking\"}", EXEC_STATUS, NULL,
         "{\"status\":\"thinking\"}", NULL},
        {"{\"type\":\"status\",\"content\":{\"status\":\"working\",\"on\":\"it\"}}",
         EXEC_STATUS, NULL, "{\"status\":\"working\",\"on\":\"it\"}", NULL},
        {"{\"type\":\"done\"}", EXEC_DONE, NULL, NULL, "stop"},
        {"{\"type\":\"done\",\"content\":{\"finishReason\":\"length\",\"usage\":{\"a\":1}"
         "}}",
         EXEC_DONE, NULL, "{\"a\":1}", "length"},
        {"{\"type\":\"error\",\"content\":{\"code\":\"busy\",\"message\":\"later\"}}",
         EXEC_ERROR, "later", NULL, "busy"},
        {"{\"type\":\"error\",\"content\":\"no\"}", EXEC_ERROR, "no", NULL,
         "agent_error"},
        {"{\"type\":\"error\"}", EXEC_ERROR, "The agent reported an error.", NULL,
         "agent_error"},
        {"{\"type\":\"ready\",\"protocol\":1}", EXEC_READY, NULL, NULL, NULL},
        {"", EXEC_EMPTY, NULL, NULL, NULL},
        {" \t", EXEC_EMPTY, NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++)
        check(&all[i], all[i].line, strlen(all[i].line));
}

static void what_it_may_not(void **state)
{
    static const char *const all[] = {
        "hello",
        "[1]",
        "{",
        "null",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"nonsense\",\"content\":\"x\"}",
        "{\"type\":\"token\"}",
        "{\"type\":\"token\",\"content\":{\"a\":1}}",
        "{\"type\":\"token\",\"content\":\"a\",\"content\":\"b\"}",
        "{\"type\":\"delta\",\"content\":\"x\"}",
        "{\"type\":\"delta\",\"content\":{\"text\":\"x\"}}",
        "{\"type\":\"delta\",\"content\":{\"kind\":\"two words\"}}",
        "{\"type\":\"delta\",\"content\":{\"kind\":\"x\",\"n\":1e999}}",
        "{\"type\":\"status\",\"content\":\"rewind\"}",
        "{\"type\":\"status\",\"content\":{\"status\":\"started\"}}",
        "{\"type\":\"status\",\"content\":\"cancelled\"}",
        "{\"type\":\"status\",\"content\":\"queued\"}",
        "{\"type\":\"status\",\"content\":{}}",
        "{\"type\":\"token\",\"content\":\"a\"} and more",
    };
    static const struct expectation bad = {NULL, EXEC_BAD, NULL, NULL, NULL};

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++)
        check(&bad, all[i], strlen(all[i]));
    check(&bad, "{\"type\":\"done\"\0}", 17);
}

/* Text that a program has cut where it liked, or that is no text. */
static void broken_text_is_repaired(void **state)
{
    static const struct {
        const char *content, *text;
    } all[] = {
        {"a\\u0000b", "a\xef\xbf\xbd"
                      "b"},
        {"\\ud83d", "\xef\xbf\xbd"},
        {"\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\\ud83d\\ude00", "😀"},
        {"\\uD83D\\uDE00", "😀"},
        {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd"
                                  "😀"},
        {"\\\\ud800", "\\ud800"},
        {"\\ud800\\\\", "\xef\xbf\xbd"
                        "\\"},
        {"\xed\xa0\xbd|\xc3", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd"},
    };
    char line[200];

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        struct expectation e = {NULL, EXEC_TOKEN, all[i].text, NULL, NULL};
        snprintf(line, sizeof(line), "{\"type\":\"token\",\"content\":\"%s\"}",
                 all[i].content);
        check(&e, line, strlen(line));
    }
}

/* An escape that is cut anywhere is an answer, and never read beyond. */
static void escapes_cut_at_every_byte(void **state)
{
    static const char line[] = "{\"type\":\"token\",\"content\":\"\\ud83d\\ude00\"}";
    struct exec_line l;

    (void)state;
    for (size_t len = 1; len < sizeof(line) - 1; len++) {
        char *exact = malloc(len);
        assert_non_null(exact);
        memcpy(exact, line, len);
        exec_line_parse(exact, len, &l);
        assert_int_equal(l.said, EXEC_BAD);
        exec_line_fini(&l);
        free(exact);
    }
}

static void a_line_may_name_its_run(void **state)
{
    static const char *const none[] = {"", "x", "018f2c3e-0000-7000-8000-00000000000",
                                       "018f2c3e-0000-7000-8000-00000000000g"};
    static const char id[] = "018f2c3e-0000-7000-8000-000000000001";
    struct exec_line l;
    char line[200];

    (void)state;
    snprintf(line, sizeof(line), "{\"type\":\"token\",\"runId\":\"%s\",\"content\":1}",
             id);
    exec_line_parse(line, strlen(line), &l);
    assert_int_equal(l.said, EXEC_BAD); /* and yet one knows whose */
    assert_string_equal(l.run_id, id);
    exec_line_fini(&l);
    for (size_t i = 0; i < COUNT(none); i++) {
        snprintf(line, sizeof(line), "{\"type\":\"done\",\"runId\":\"%s\"}", none[i]);
        exec_line_parse(line, strlen(line), &l);
        assert_int_equal(l.said, EXEC_DONE);
        assert_string_equal(l.run_id, "");
        exec_line_fini(&l);
    }
    exec_line_parse("{\"type\":\"ready\",\"protocol\":7}", 29, &l);
    assert_int_equal(l.protocol, 7);
    exec_line_fini(&l);
}

static void depth_is_limited(void **state)
{
    static const struct expectation bad = {NULL, EXEC_BAD, NULL, NULL, NULL};
    struct buf deep;

    (void)state;
    buf_init(&deep);
    buf_str(&deep, "{\"type\":\"delta\",\"content\":");
    for (int i = 0; i < 100000; i++)
        buf_char(&deep, '[');
    check(&bad, deep.data, deep.len);
    buf_fini(&deep);
}

/* Every prefix and every byte changed: an answer, and no more. */
static void cut_and_broken_lines(void **state)
{
    static const char line[] =
        "{\"type\":\"done\",\"content\":{\"finishReason\":\"stop\",\"usage\":{\"a\":1}}}";
    char copy[sizeof(line)];
    struct exec_line l;

    (void)state;
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        exec_line_parse(line, i, &l);
        assert_true(l.said == EXEC_BAD || (i == 0 && l.said == EXEC_EMPTY));
        exec_line_fini(&l);
        for (int bit = 0; bit < 8; bit++) {
            memcpy(copy, line, sizeof(line));
            copy[i] = (char)(copy[i] ^ (1 << bit));
            exec_line_parse(copy, sizeof(line) - 1, &l);
            exec_line_fini(&l);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_split_at_every_byte),
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(a_reader_may_stop),
        cmocka_unit_test(what_an_agent_may_say),
        cmocka_unit_test(what_it_may_not),
        cmocka_unit_test(broken_text_is_repaired),
        cmocka_unit_test(escapes_cut_at_every_byte),
        cmocka_unit_test(a_line_may_name_its_run),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(cut_and_broken_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
