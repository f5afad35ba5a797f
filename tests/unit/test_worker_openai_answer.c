/* The answers of tests/input/provider: each says what its row says, whole, split in two
 * at every byte, and one byte at a time. The same rows are served over TLS by
 * tests/e2e/openai.test.mjs. */
#include "worker/agents/openai_answer.h"

#include "common/json.h"
#include "common/utf8.h"
#include "unit.h"

static const char dir[] = THREADCAST_SOURCE_DIR "/tests/input/provider";

/* --- what is said, as JSON: [["token","…"],["usage",{…}],…] ----------------------- */

static json_t *last(json_t *said, const char *kind)
{
    json_t *item = json_array_get(said, json_array_size(said) - 1);

    return item && !strcmp(json_string_value(json_array_get(item, 0)), kind) ? item
                                                                             : NULL;
}

static void say_text(json_t *said, const char *kind, const char *text, size_t len)
{
    json_t *item = last(said, kind);
    struct buf clean;

    buf_init(&clean);
    if (item) /* neighbours are one: cuts do not matter */
        buf_str(&clean, json_string_value(json_array_get(item, 1)));
    utf8_repair(&clean, text, len);
    assert_true(utf8_valid(clean.data, clean.len));
    if (item)
        json_array_set_new(item, 1, json_stringn(clean.data, clean.len));
    else
        json_array_append_new(said, json_pack("[s,s%]", kind, clean.data, clean.len));
    buf_fini(&clean);
}

static void on_text(const char *text, size_t len, void *arg)
{
    say_text(arg, "token", text, len);
}

static void on_reasoning(const char *text, size_t len, void *arg)
{
    say_text(arg, "reasoning", text, len);
}

static void say_json(json_t *said, const char *kind, const char *text, size_t len)
{
    json_t *json = json_read(text, len, JSON_REJECT_DUPLICATES, NULL);

    assert_non_null(json);
    assert_null(memchr(text, '\n', len));
    assert_string_equal(json_string_value(json_object_get(json, "kind")), kind);
    json_array_append_new(said, json_pack("[s,o]", kind, json));
}

static void on_tool_call(const char *json, size_t len, void *arg)
{
    say_json(arg, "tool_call", json, len);
}

static void on_usage(const char *json, size_t len, void *arg)
{
    say_json(arg, "usage", json, len);
}

static const struct openai_voice voice = {on_text, on_reasoning, on_tool_call, on_usage};

/* --- a row ------------------------------------------------------------------------ */

static struct buf read_file(const char *name)
{
    char path[512];
    struct buf b;
    FILE *f;
    int c;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "re");
    assert_non_null(f);
    buf_init(&b);
    while ((c = fgetc(f)) != EOF)
        buf_char(&b, (char)c);
    fclose(f);
    return b;
}

static struct buf bytes_of(const json_t *row)
{
    const json_t *text = json_array_get(json_object_get(row, "make"), 0);
    struct buf b;

    if (!text)
        return read_file(json_string_value(json_object_get(row, "file")));
    buf_init(&b);
    buf_add(&b, json_string_value(text), json_string_length(text));
    return b;
}

static const char *text_of(const json_t *row, const char *member, const char *otherwise)
{
    const json_t *value = json_object_get(row, member);

    return value ? json_string_value(value) : otherwise;
}

static bool begin(struct openai_answer *a, const json_t *row, json_t *said)
{
    const json_t *status = json_object_get(row, "status");

    openai_answer_init(a, 1 << 20, 1000, &voice, said);
    openai_answer_head(a, status ? (int)json_integer_value(status) : 200,
                       text_of(row, "type", "text/event-stream"));
    return strcmp(text_of(row, "end", ""), "cut") != 0;
}

static json_t *says_of(const json_t *row)
{
    json_t *says = json_deep_copy(json_object_get(row, "says"));
    size_t i;
    json_t *item;

    json_array_foreach(says, i, item)
    {
        json_t *json = json_array_get(item, 1);
        if (!strcmp(json_string_value(json_array_get(item, 0)), "usage"))
            json_object_set_new(json, "kind", json_string("usage"));
    }
    return says;
}

static void check_end(struct openai_answer *a, const json_t *row, const json_t *said,
                      const char *name, size_t at)
{
    const char *error = text_of(row, "error", NULL);
    json_t *says = says_of(row);

    if (!json_equal(said, says) || (error != NULL) != (a->state == OPENAI_FAILED)) {
        char *text = json_dumps(said, 0);
        print_message("%s, cut at %zu: %s; %s\n", name, at, text ? text : "",
                      a->failure.code ? a->failure.code : a->finish);
        free(text);
    }
    assert_true(json_equal(said, says));
    if (error) {
        assert_int_equal(a->state, OPENAI_FAILED);
        assert_string_equal(a->failure.code, error);
        assert_int_equal(a->failure.retryable,
                         json_is_true(json_object_get(row, "retryable")));
        assert_true(utf8_valid(a->failure.message.data, a->failure.message.len));
    } else {
        assert_int_equal(a->state, OPENAI_DONE);
        assert_string_equal(a->finish, text_of(row, "done", ""));
    }
    json_decref(says);
}

/* In pieces of `step` bytes, the first of `at`. */
static void play(const char *name, const json_t *row, const struct buf *bytes, size_t at,
                 size_t step)
{
    json_t *said = json_array();
    struct openai_answer a;
    bool whole = begin(&a, row, said);

    if (at > 0)
        openai_answer_feed(&a, bytes->data, at);
    for (size_t i = at; i < bytes->len; i += step)
        openai_answer_feed(&a, bytes->data + i,
                           step < bytes->len - i ? step : bytes->len - i);
    openai_answer_end(&a, whole);
    if (a.state == OPENAI_DONE)
        openai_answer_settle(&a);
    check_end(&a, row, said, name, at);
    openai_answer_fini(&a);
    json_decref(said);
}

static json_t *load_rows(void)
{
    struct buf text = read_file("cases.json");
    json_t *rows =
        json_read(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    assert_non_null(rows);
    buf_fini(&text);
    return rows;
}

static void every_row_at_every_byte(void **state)
{
    json_t *rows = load_rows(), *row;
    const char *name;

    (void)state;
    assert_true(json_object_size(rows) > 70);
    json_object_foreach(rows, name, row)
    {
        struct buf bytes = bytes_of(row);
        /* with failing allocations every run would take seconds */
        for (size_t at = 0; at <= bytes.len && !getenv("THREADCAST_TORTURE"); at++)
            play(name, row, &bytes, at, bytes.len + 1);
        play(name, row, &bytes, 0, 1);
        buf_fini(&bytes);
    }
    json_decref(rows);
}

/* --- limits ----------------------------------------------------------------------- */

static const char piece[] = "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n";

/* How many pieces are said before it fails with `code`. */
static size_t pieces_until(int64_t max_bytes, int64_t max_events, const char *code)
{
    json_t *said = json_array();
    struct openai_answer a;
    size_t len;

    openai_answer_init(&a, max_bytes, max_events, &voice, said);
    openai_answer_head(&a, 200, "text/event-stream; charset=utf-8");
    for (int i = 0; i < 100 && a.state == OPENAI_GOING; i++)
        openai_answer_feed(&a, piece, sizeof(piece) - 1);
    assert_int_equal(a.state, OPENAI_FAILED);
    assert_string_equal(a.failure.code, code);
    assert_false(a.failure.retryable);
    len = json_string_length(json_array_get(json_array_get(said, 0), 1));
    openai_answer_fini(&a);
    json_decref(said);
    return len / 2;
}

static void limits_end_an_answer(void **state)
{
    (void)state;
    assert_int_equal(pieces_until(sizeof(piece) * 3, 1000, "provider_limit"), 3);
    assert_int_equal(pieces_until(1 << 20, 5, "provider_limit"), 5);
}

/* One that never ends a line, and one whose tools never end. */
static void floods_end(void **state)
{
    static char flood[65536];
    json_t *said = json_array();
    struct openai_answer a;

    (void)state;
    memset(flood, 'x', sizeof(flood));
    openai_answer_init(&a, 1 << 30, 1000, &voice, said);
    openai_answer_head(&a, 200, "text/event-stream");
    for (int i = 0; i < 1000 && a.state == OPENAI_GOING; i++)
        openai_answer_feed(&a, flood, sizeof(flood));
    assert_string_equal(a.failure.code, "provider_limit");
    assert_true(a.bytes < 6 << 20);
    openai_answer_fini(&a);
    openai_answer_init(&a, 1 << 30, 10000, &voice, said);
    openai_answer_head(&a, 200, "text/event-stream");
    for (int i = 0; i < 1000 && a.state == OPENAI_GOING; i++) {
        char text[160];
        int n = snprintf(text, sizeof(text),
                         "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":%d,"
                         "\"function\":{\"name\":\"f\"}}]}}]}\n\n",
                         i);
        openai_answer_feed(&a, text, (size_t)n);
    }
    assert_string_equal(a.failure.code, "provider_limit");
    assert_int_equal(a.tools.count, 128);
    openai_answer_fini(&a);
    json_decref(said);
}

static size_t longest;
static void on_measured(const char *text, size_t len, void *arg)
{
    struct buf *all = arg;

    assert_true(utf8_valid(text, len));
    longest = len > longest ? len : longest;
    buf_add(all, text, len);
}

/* 1 MB in one piece, in characters of three bytes. */
static void long_text_comes_in_pieces(void **state)
{
    const struct openai_voice measured = {on_measured, on_measured, on_tool_call,
                                          on_usage};
    struct buf all, stream;
    struct openai_answer a;

    (void)state;
    buf_init(&all);
    buf_init(&stream);
    buf_str(&stream, "data: {\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{"
                     "\"reasoning\":\"");
    for (int i = 0; i < 350000; i++)
        buf_str(&stream, "\xE4\xB8\x96");
    buf_str(&stream, "\"}}]}\n\n");
    openai_answer_init(&a, 1 << 30, 10, &measured, &all);
    openai_answer_head(&a, 200, "text/event-stream");
    openai_answer_feed(&a, stream.data, stream.len);
    openai_answer_end(&a, true);
    assert_int_equal(a.state, OPENAI_DONE);
    assert_int_equal(all.len, 1050000);
    assert_true(longest <= OPENAI_PIECE_MAX);
    openai_answer_fini(&a);
    buf_fini(&all);
    buf_fini(&stream);
}

static void a_secret_is_not_repeated(void **state)
{
    static const char body[] =
        "{\"error\":{\"message\":\"no: sk-secret-1 and sk-secret-1, sk-secret\"}}";
    struct openai_failure f;

    (void)state;
    openai_failure_init(&f);
    openai_fail_status(&f, 400, body, sizeof(body) - 1);
    openai_failure_scrub(&f, NULL);
    openai_failure_scrub(&f, "sk-secret-1");
    assert_string_equal(f.message.data,
                        "The model provider answered 400: no: *********** "
                        "and ***********, sk-secret");
    openai_failure_fini(&f);
    openai_failure_init(&f);
    openai_fail_status(&f, 401, body, sizeof(body) - 1);
    assert_null(strstr(f.message.data, "sk-"));
    openai_failure_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_at_every_byte),
        cmocka_unit_test(limits_end_an_answer),
        cmocka_unit_test(floods_end),
        cmocka_unit_test(long_text_comes_in_pieces),
        cmocka_unit_test(a_secret_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
