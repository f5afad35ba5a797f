/* The older interface, what needs no Redis: names, entries, last words, grants, and our
 * events in their words, to the letter. */
#include "bridge/legacy_access.h"
#include "bridge/legacy_entry.h"
#include "bridge/legacy_page.h"
#include "bridge/legacy_voice.h"
#include "common/json.h"

#include "unit.h"

#include "bridge/identity.h"
#include "bridge/msg.h"

static void names_are_theirs(void **state)
{
    static const struct {
        enum legacy_name which;
        const char *name;
    } rows[] = {
        {LEGACY_KEY_CLASSIC, "p:agent_run:r-1:responses"},
        {LEGACY_KEY_NEWER, "p:agent_responses:r-1"},
        {LEGACY_KEY_NEWEST, "p:agent_run:r-1:stream"},
        {LEGACY_KEY_LOCK, "p:agent_run_lock:r-1"},
        {LEGACY_KEY_STOP, "p:agent_run:r-1:stop"},
        {LEGACY_NEW_CLASSIC, "p:agent_run:r-1:new_response"},
        {LEGACY_NEW_NEWER, "p:agent_responses:r-1"},
        {LEGACY_CONTROL_CLASSIC, "p:agent_run:r-1:control"},
        {LEGACY_CONTROL_NEWER, "p:agent_control:r-1"},
    };
    char name[LEGACY_NAME_SIZE], longest[LEGACY_ID_MAX + 1], prefix[NAMES_PREFIX_MAX + 1];
    enum legacy_name which;
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        len = legacy_name(name, "p:", rows[i].which, "r-1");
        assert_string_equal(name, rows[i].name);
        assert_int_equal(len, strlen(rows[i].name));
        const char *id = legacy_run_of_channel("p:", name, len, &len, &which);
        if (rows[i].which < LEGACY_KEYS)
            continue;
        assert_non_null(id);
        assert_int_equal(len, 3);
        assert_memory_equal(id, "r-1", 3);
        assert_int_equal(which, rows[i].which);
        assert_null(legacy_run_of_channel("", name, strlen(name), &len, &which));
    }
    memset(longest, 'x', LEGACY_ID_MAX);
    memset(prefix, 'p', NAMES_PREFIX_MAX);
    longest[LEGACY_ID_MAX] = prefix[NAMES_PREFIX_MAX] = '\0';
    for (int i = 0; i < LEGACY_NAMES; i++)
        legacy_name(name, prefix, (enum legacy_name)i, longest);
    static const char *const foreign[] = {"agent_run::control",
                                          "agent_run:a:b:control",
                                          "agent_run:a:contro",
                                          "agent_control:",
                                          "agent_run:a:control:i",
                                          "thread:a",
                                          ""};
    for (size_t i = 0; i < COUNT(foreign); i++)
        assert_null(
            legacy_run_of_channel("", foreign[i], strlen(foreign[i]), &len, &which));
}

static void entries_tell_the_end(void **state)
{
    static const struct {
        const char *json;
        enum legacy_family family;
        enum legacy_end end;
        bool told, error;
    } rows[] = {
        {"{\"type\": \"status\", \"status\": \"completed\"}", LEGACY_CLASSIC,
         LEGACY_COMPLETED, true, false},
        {"{\"status\":\"failed\",\"type\":\"status\"}", LEGACY_CLASSIC, LEGACY_FAILED,
         true, false},
        {"{\"type\": \"status\", \"status\": \"stopped\"}", LEGACY_NEWEST, LEGACY_STOPPED,
         true, false},
        /* ends nothing, but for the newest */
        {"{\"type\": \"status\", \"status\": \"error\"}", LEGACY_CLASSIC, LEGACY_RUNNING,
         false, true},
        {"{\"type\": \"status\", \"status\": \"error\"}", LEGACY_NEWEST, LEGACY_FAILED,
         false, true},
        {"{\"type\": \"completion\"}", LEGACY_NEWER, LEGACY_COMPLETED, false, false},
        {"{\"type\": \"completion\"}", LEGACY_CLASSIC, LEGACY_RUNNING, false, false},
        {"{\"type\": \"error\", \"error\": \"x\"}", LEGACY_NEWER, LEGACY_FAILED, false,
         false},
        {"{\"type\": \"assistant\", \"status\": \"completed\"}", LEGACY_CLASSIC,
         LEGACY_RUNNING, false, false},
        {"{\"type\": \"status\", \"content\": {\"status\": \"completed\"}}",
         LEGACY_CLASSIC, LEGACY_RUNNING, false, false},
        {"{\"type\": \"status\", \"status\": 1}", LEGACY_CLASSIC, LEGACY_RUNNING, false,
         false},
        /* JSON.parse takes the last one */
        {"{\"type\":\"status\",\"status\":\"completed\",\"status\":\"running\"}",
         LEGACY_CLASSIC, LEGACY_RUNNING, false, false},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "[]",
                                      "\"a\"",
                                      "{} {}",
                                      "{\"a\": NaN}",
                                      "{\"t\\u0079pe\": \"status\"}",
                                      "{\"a\": 1",
                                      "{\"type\": \"stat\\u0075s\"}",
                                      "{\"a\":\"\n\"}"};
    struct legacy_entry e;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(
            legacy_entry_read(rows[i].json, strlen(rows[i].json), rows[i].family, &e));
        assert_int_equal(e.end, rows[i].end);
        assert_int_equal(e.told, rows[i].told);
        assert_int_equal(e.error, rows[i].error);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(legacy_entry_read(bad[i], strlen(bad[i]), LEGACY_CLASSIC, &e));
    assert_true(legacy_entry_read("{\"threadId\":\"t1\"}", 17, LEGACY_CLASSIC, &e));
    assert_int_equal(e.thread.len, 2);
    assert_memory_equal(e.thread.at, "t1", 2);
}

static void words_are_read(void **state)
{
    static const struct {
        const char *text;
        enum legacy_word word;
    } rows[] = {
        {"STOP", LEGACY_STOP},
        {"END_STREAM", LEGACY_END_STREAM},
        {"ERROR", LEGACY_ERROR},
        {"{\"type\": \"error\", \"error\": \"x\"}", LEGACY_ERROR},
        {"{\"command\": \"stop\"}", LEGACY_STOP},
        {"{\"type\": \"control\", \"status\": \"completed\"}", LEGACY_END_STREAM},
        {"stop", LEGACY_NO_WORD},
        {"STOP ", LEGACY_NO_WORD},
        {"new", LEGACY_NO_WORD},
        {"", LEGACY_NO_WORD},
        {"{\"type\": \"ping\"}", LEGACY_NO_WORD},
        {"[\"STOP\"]", LEGACY_NO_WORD},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(legacy_word_read(rows[i].text, strlen(rows[i].text)),
                         rows[i].word);
}

/* What stands behind `data: ` up to the blank line. */
static const char *said(struct msg *m)
{
    static char text[4096];
    const char *data = m->data + m->head;
    size_t len = m->len - m->head - MSG_TAIL;

    assert_in_range(len, 8, sizeof(text));
    assert_memory_equal(data, "data: ", 6);
    assert_memory_equal(data + len - 2, "\n\n", 2);
    snprintf(text, sizeof(text), "%.*s", (int)len - 8, data + 6);
    msg_unref(m);
    return text;
}

static const char *framed(const char *json, const char *id)
{
    struct legacy_entry e;

    assert_true(legacy_entry_read(json, strlen(json), LEGACY_NEWEST, &e));
    return said(legacy_entry_msg(json, strlen(json), &e, id));
}

static void entries_are_framed(void **state)
{
    (void)state;
    assert_string_equal(framed("{\"a\": 1}", NULL), "{\"a\": 1}");
    assert_string_equal(framed("{\"a\": 1}", "5-1"),
                        "{\"a\": 1, \"_event_id\": \"5-1\"}");
    assert_string_equal(framed("{ }\n", "5-1"), "{ \"_event_id\": \"5-1\"}");
    assert_string_equal(framed("{\"a\":\r\n1 }", "5-1"),
                        "{\"a\":  1 , \"_event_id\": \"5-1\"}");
    assert_string_equal(said(legacy_ping_msg()), "{\"type\": \"ping\"}");
    assert_string_equal(said(legacy_end_msg(LEGACY_COMPLETED)),
                        "{\"type\": \"status\", \"status\": \"completed\", "
                        "\"message\": \"Agent run completed successfully\"}");
    assert_string_equal(said(legacy_status_msg("error", "a \"b\"")),
                        "{\"type\": \"status\", \"status\": \"error\", "
                        "\"message\": \"a \\\"b\\\"\"}");
}

static void last_ids_are_judged(void **state)
{
    static const char *const good[] = {"1", "1763637712345", "1763637712345-0", "1-99"};
    static const char *const bad[] = {"",
                                      "-",
                                      "1-",
                                      "-1",
                                      "a",
                                      "1-a",
                                      "1 ",
                                      "1-1-1",
                                      "11111111111111111111",
                                      "+1",
                                      "1-11111111111111111111"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(legacy_place_valid(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(legacy_place_valid(bad[i]));
}

static bool granted(const char *grants, const char *run_id)
{
    json_t *list = json_read(grants, strlen(grants), 0, NULL);
    struct identity *id = identity_new("ann", 3, INT64_MAX, INT64_MAX);

    assert_non_null(list);
    assert_true(grants_parse(list, true, &id->read));
    bool ok = legacy_granted(id, run_id, ACCESS_READ);
    assert_false(legacy_granted(id, run_id, ACCESS_OWN)); /* reading is not stopping */
    identity_unref(id);
    json_decref(list);
    return ok;
}

static void grants_name_runs(void **state)
{
    char **list = NULL;
    json_t *bad = json_pack("[s]", "agent_run:a:b");

    (void)state;
    assert_true(granted("[\"agent_run:r1\"]", "r1"));
    assert_true(granted("[\"x\", \"agent_run:r*\"]", "r1"));
    assert_true(granted("[\"agent_run:*\"]", "r1"));
    assert_true(granted("[\"*\"]", "r1"));
    assert_false(granted("[\"agent_run:r1\"]", "r12"));
    assert_false(granted("[\"agent_run:r12\"]", "r1"));
    assert_false(
        granted("[\"r1\", \"r*\", \"a*\", \"agent_run*\", \"agent_run\"]", "r1"));
    assert_false(granted("[]", "r1"));
    assert_false(grants_parse(bad, true, &list));
    json_decref(bad);
}

struct heard {
    char text[8][1024];
    size_t count;
};

static void hear(void *arg, struct msg *m)
{
    struct heard *h = arg;

    assert_non_null(m);
    assert_in_range(h->count, 0, COUNT(h->text) - 1);
    snprintf(h->text[h->count++], sizeof(h->text[0]), "%s", said(m));
}

static enum legacy_end tell(struct legacy_voice *v, const char *json, struct heard *ret)
{
    struct event_view view;

    ret->count = 0;
    assert_int_equal(event_check(json, strlen(json), "t1", 2, &view), EVENT_OK);
    struct msg *m = msg_event(json, strlen(json), &view, NULL);
    assert_non_null(m);
    enum legacy_end end = legacy_voice_say(v, m, hear, ret);
    msg_unref(m);
    return end;
}

#define EVENT(n, type, content)                                                          \
    "{\"id\":\"17-" n "\",\"type\":\"" type                                              \
    "\",\"threadId\":\"t1\",\"content\":" content                                        \
    ",\"ts\":1763637712345,\"runId\":\"r1\",\"messageId\":\"m1\",\"attempt\":1}"
#define ENTRY(n, id, type, llm, content, metadata)                                       \
    "{\"sequence\": " n ", \"message_id\": " id                                          \
    ", \"thread_id\": \"t1\", \"type\": \"" type "\", \"is_llm_message\": " llm          \
    ", \"content\": \"" content "\", \"metadata\": \"" metadata "\", "                   \
    "\"created_at\": \"2025-11-20T11:21:52.345+00:00\", "                                \
    "\"updated_at\": \"2025-11-20T11:21:52.345+00:00\"}"
#define STREAMED(status)                                                                 \
    "{\\\"stream_status\\\": \\\"" status "\\\", \\\"thread_run_id\\\": \\\"r1\\\"}"

static void our_events_in_their_words(void **state)
{
    struct legacy_voice v;
    struct heard h;

    (void)state;
    legacy_voice_init(&v, "r1");
    tell(&v, EVENT("1", "status", "{\"status\":\"started\"}"), &h);
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.text[0], "thread_run_start"));
    tell(&v, EVENT("2", "token", "\"a \\\"b\\\"\""), &h);
    assert_int_equal(h.count, 1);
    assert_string_equal(h.text[0], ENTRY("2", "null", "assistant", "true",
                                         "{\\\"role\\\": \\\"assistant\\\", "
                                         "\\\"content\\\": \\\"a \\\\\\\"b\\\\\\\"\\\"}",
                                         STREAMED("chunk")));
    tell(&v, EVENT("3", "status", "{\"status\":\"rewind\"}"), &h);
    assert_int_equal(h.count, 1);
    assert_string_equal(
        h.text[0], ENTRY("3", "null", "assistant", "true",
                         "{\\\"role\\\": \\\"assistant\\\", \\\"content\\\": \\\"\\\"}",
                         STREAMED("complete")));
    tell(&v, EVENT("4", "token", "\"\\ud83d\""), &h);
    tell(&v, EVENT("5", "delta", "{\"kind\":\"reasoning\",\"text\":\"hm\"}"), &h);
    assert_int_equal(h.count, 0);
    tell(&v,
         EVENT("6", "delta",
               "{\"kind\":\"tool_call\",\"toolCallId\":\"k\",\"name\":\"f\","
               "\"arguments\":{\"x\":1}}"),
         &h);
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.text[0], "\\\"tool_started\\\""));
    assert_non_null(strstr(h.text[0], "\\\"function_name\\\": \\\"f\\\""));
    assert_int_equal(tell(&v, EVENT("7", "done", "{\"finishReason\":\"stop\"}"), &h),
                     LEGACY_COMPLETED);
    assert_int_equal(h.count, 3);
    assert_string_equal(h.text[0],
                        ENTRY("7", "\"m1\"", "assistant", "true",
                              "{\\\"role\\\": \\\"assistant\\\", \\\"content\\\": "
                              "\\\"\\\\ud83d\\\"}",
                              STREAMED("complete")));
    assert_non_null(strstr(h.text[1], "thread_run_end"));
    assert_string_equal(h.text[2], "{\"type\": \"status\", \"status\": \"completed\", "
                                   "\"message\": \"Agent run completed successfully\"}");
    assert_int_equal(tell(&v, EVENT("8", "done", "{\"finishReason\":\"cancelled\"}"), &h),
                     LEGACY_STOPPED);
    legacy_voice_fini(&v);
}

static void our_errors_in_their_words(void **state)
{
    static const char *const contents[] = {
        EVENT("9", "error",
              "{\"code\":\"x\",\"message\":\"it broke\",\"retryable\":false}"),
        EVENT("9", "error", "\"it broke\""),
    };
    struct legacy_voice v;
    struct heard h;

    (void)state;
    legacy_voice_init(&v, "r1");
    for (size_t i = 0; i < COUNT(contents); i++) {
        assert_int_equal(tell(&v, contents[i], &h), LEGACY_FAILED);
        assert_int_equal(h.count, 3);
        assert_string_equal(h.text[1], "{\"type\": \"status\", \"status\": \"error\", "
                                       "\"message\": \"it broke\"}");
        assert_string_equal(h.text[2], "{\"type\": \"status\", \"status\": \"failed\", "
                                       "\"message\": \"Agent run failed\"}");
    }
    legacy_voice_fini(&v);
}

static void too_long_a_message_is_not_said_again(void **state)
{
    static char json[40000];
    struct legacy_voice v;
    struct heard h;

    (void)state;
    legacy_voice_init(&v, "r1");
    snprintf(json, sizeof(json), EVENT("2", "token", "\"%01000d\""), 0);
    for (size_t i = 0; i <= LEGACY_TEXT_MAX / 1000; i++)
        tell(&v, json, &h);
    tell(&v, EVENT("7", "done", "{}"), &h);
    assert_int_equal(h.count, 2); /* the chunks stay what the page shows */
    legacy_voice_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_theirs),
        cmocka_unit_test(entries_tell_the_end),
        cmocka_unit_test(words_are_read),
        cmocka_unit_test(entries_are_framed),
        cmocka_unit_test(last_ids_are_judged),
        cmocka_unit_test(grants_name_runs),
        cmocka_unit_test(our_events_in_their_words),
        cmocka_unit_test(our_errors_in_their_words),
        cmocka_unit_test(too_long_a_message_is_not_said_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
