/* doctor: what it makes of answers that the end-to-end tests cannot bring about: times to
 * the millisecond, other people's caches, queues, HTTP/1.0 in front, hostile bytes. */
#include "cli/diagnose.h"
#include "cli/pace.h"
#include "cli/report.h"
#include "common/json.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static const struct options options = {.events = 8, .every_ms = 100, .streams = 7};
static struct checkup checkup;
static struct diagnosis diagnosis;

#define HELLO(more)                                                                      \
    "retry: 900\n:threadcast\nevent: hello\ndata: {\"probe\":1,\"at\":1000100,"          \
    "\"http\":\"1.1\",\"keepaliveMs\":15000,\"headers\":[\"last-event-id\",\"cookie\","  \
    "\"authorization\",\"idempotency-key\"],\"lastEventId\":\"doctor-1\"" more "}\n\n"
#define HEAD                                                                             \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"                             \
    "Cache-Control: no-cache, no-transform\r\n"

/* More of an answer's body, here after `us`. */
static void came(struct visit *v, int64_t us, const char *text)
{
    struct answer *a = &v->answer;

    if (!a->arrivals)
        a->arrivals = calloc(TRANSFER_ARRIVALS_MAX, sizeof(*a->arrivals));
    assert_non_null(a->arrivals);
    buf_add(&a->body, text, strlen(text));
    a->arrivals[a->arrival_count++] = (struct arrival){.us = us, .bytes = a->body.len};
    a->ended_us = us;
}

static void answered(struct visit *v, int status, const char *head)
{
    v->made = true;
    v->answer.status = status;
    v->answer.http = 20;
    v->answer.end = TRANSFER_WHOLE;
    v->answer.certificate_days = -1;
    v->answer.began_wall_ms = 1000000;
    buf_str(&v->answer.head, head);
}

/* Eight pieces, sent every 100 ms from 100 ms on; piece n came `late[n]` ms after that.
 */
static void stream(struct visit *v, const char *hello, int64_t hello_ms,
                   const int64_t *late)
{
    answered(v, 200, HEAD);
    came(v, hello_ms * 1000, hello);
    for (int64_t n = 1; n <= 8; n++) {
        char text[100];
        snprintf(text, sizeof(text),
                 "data: {\"n\":%d,\"ms\":%d,\"pad\":\"\"}\nid: %d\n\n", (int)n,
                 (int)n * 100, (int)n);
        came(v, (n * 100 + (late ? late[n - 1] : 0)) * 1000, text);
    }
    came(v, 1600000, "event: end\ndata: {\"ms\":800}\n\n");
    stream_read(&v->answer, &v->stream);
}

static void idle(struct visit *v, const char *hello)
{
    answered(v, 200, HEAD);
    came(v, 1000, hello);
    came(v, 2000000, "event: end\ndata: {\"ms\":2000}\n\n");
    stream_read(&v->answer, &v->stream);
}

static int setup(void **state)
{
    (void)state;
    checkup = (struct checkup){.options = &options, .event_id = "doctor-1"};
    snprintf(checkup.place.origin, sizeof(checkup.place.origin), "https://chat.example");
    answered(&checkup.post, 401, "HTTP/1.1 401 Unauthorized\r\n");
    came(&checkup.post, 1000, "{\"error\":{\"code\":\"unauthorized\",\"message\":\"\"}}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    checkup_fini(&checkup);
    return 0;
}

/* The words of what was found, joined. */
static const char *found(void)
{
    static char text[300];
    size_t len = 0;

    diagnose(&checkup, &diagnosis);
    text[0] = '\0';
    for (size_t i = 0; i < diagnosis.count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "",
                                trouble_word(diagnosis.findings[i].trouble));
    return text;
}

static void test_a_good_way(void **state)
{
    (void)state;
    stream(&checkup.first, HELLO(""), 1, NULL);
    assert_int_equal(checkup.first.stream.count, 8);
    assert_true(checkup.first.stream.ended);
    assert_string_equal(found(), "");
    assert_int_equal(diagnosis.note_count, 0);
    assert_int_equal(report_status(&diagnosis), 0);
}

/* Every line was here when its last byte was, however it was cut. */
static void test_lines_and_times(void **state)
{
    static const char text[] = ":threadcast\r\nevent: hello\r\ndata: {\"at\":1}\r\n\r\n"
                               ":keepalive\n:other\nevent: busy\ndata: {}\n\n";
    struct visit v = {.made = true};

    (void)state;
    answered(&v, 200, HEAD);
    for (size_t i = 0; text[i]; i++)
        came(&v, (int64_t)i * 1000, (char[]){text[i], '\0'});
    stream_read(&v.answer, &v.stream);
    assert_true(v.stream.greeted);
    assert_int_equal(stream_hello_number(&v.stream, "at"), 1);
    assert_int_equal(v.stream.hello_us, (strstr(text, "\r\n\r\n") + 3 - text) * 1000);
    assert_int_equal(v.stream.keepalives, 1);
    assert_int_equal(v.stream.keepalives_us[0],
                     (strstr(text, "e\n:other") + 1 - text) * 1000);
    assert_string_equal(v.stream.busy, "no reason");
    stream_fini(&v.stream);
    answer_fini(&v.answer);
}

/* What is not as it should be is read, and nothing comes of it. */
static void test_odd_streams(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n\n",
        "data: 1\n\n",
        "data: {\"ms\":\"x\"}\n\n",
        "event: hello\ndata: []\n\n",
        "event: hello\n\n",
        "event: end",
        "\r\n\r",
        ":threadcast",
        "data:\n\nevent:\n\n",
        "event: a-name-that-is-longer-than-any-name-of-ours-is\ndata: {\n\n",
        "\xff\xfe\n\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct visit v = {.made = true};
        answered(&v, 200, HEAD);
        came(&v, 1, texts[i]);
        stream_read(&v.answer, &v.stream);
        assert_null(v.stream.hello);
        assert_int_equal(v.stream.count, 0);
        assert_false(v.stream.ended);
        stream_fini(&v.stream);
        answer_fini(&v.answer);
    }
}

static void test_held_or_busy(void **state)
{
    static const int64_t whole[] = {700, 600, 500, 400, 300, 200, 100, 0};
    static const int64_t busy[] = {0, 0, 290, 190, 90, 0, 0, 0};
    static const int64_t late_begin[] = {300, 200, 100, 0, 0, 0, 0, 0};

    (void)state;
    stream(&checkup.first, HELLO(""), 800, whole);
    stream(&checkup.again, HELLO(""), 800, whole);
    stream(&checkup.plain, HELLO(""), 800, whole);
    struct pace p = pace_of(&checkup.first.stream, &checkup.first.answer, 100);
    assert_true(p.held);
    assert_int_equal(p.heaps, 1);
    assert_int_equal(p.late_max_ms, 700);
    assert_string_equal(found(), "buffering");
    buf_str(&checkup.first.answer.head, "Content-Encoding: br\r\n");
    assert_string_equal(found(), "buffering");
    teardown(NULL);
    setup(NULL);
    /* held with compression alone */
    stream(&checkup.first, HELLO(""), 800, whole);
    stream(&checkup.again, HELLO(""), 800, whole);
    stream(&checkup.plain, HELLO(""), 1, NULL);
    buf_str(&checkup.first.answer.head, "Content-Encoding: br\r\n");
    assert_string_equal(found(), "compression");
    assert_string_equal(diagnosis.findings[0].word, "br");
    teardown(NULL);
    setup(NULL);
    /* once, and then not again */
    stream(&checkup.first, HELLO(""), 800, whole);
    stream(&checkup.again, HELLO(""), 1, NULL);
    stream(&checkup.plain, HELLO(""), 1, NULL);
    assert_string_equal(found(), "");
    assert_int_equal(diagnosis.note_count, 1);
    teardown(NULL);
    setup(NULL);
    /* a machine that was busy for a while */
    stream(&checkup.first, HELLO(""), 1, busy);
    assert_false(pace_of(&checkup.first.stream, &checkup.first.answer, 100).held);
    stream_fini(&checkup.first.stream);
    answer_fini(&checkup.first.answer);
    stream(&checkup.first, HELLO(""), 400, late_begin);
    assert_false(pace_of(&checkup.first.stream, &checkup.first.answer, 100).held);
}

static void test_headers_of_the_answer(void **state)
{
    static const struct {
        const char *head, *found;
        size_t notes;
    } rows[] = {
        {"X-Cache: MISS from x\r\n", "", 0},
        {"X-Cache: HIT from x\r\n", "cache", 0},
        {"CF-Cache-Status: HIT\r\n", "cache", 0},
        {"Age: 0\r\n", "", 0},
        {"age: 12\r\n", "cache", 0},
        {"Content-Encoding: gzip\r\n", "", 1},
        {"Content-Type-Options: text/html\r\n", "", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        stream(&checkup.first, HELLO(""), 1, NULL);
        buf_str(&checkup.first.answer.head, rows[i].head);
        assert_string_equal(found(), rows[i].found);
        assert_int_equal(diagnosis.note_count, rows[i].notes);
        teardown(NULL);
        setup(NULL);
    }
    stream(&checkup.first, HELLO(""), 1, NULL);
    buf_clear(&checkup.first.answer.head);
    assert_string_equal(found(), "content_type cache");
    checkup.first.answer.http = 10;
    assert_string_equal(found(), "http10 content_type cache");
    assert_non_null(strstr(diagnosis.findings[0].what, "spoken to you"));
}

static void test_silence(void **state)
{
    (void)state;
    checkup.idle_ms = 20000;
    checkup.keepalive_ms = 5000;
    checkup.keepalives = 0;
    stream(&checkup.first, HELLO(""), 1, NULL);
    idle(&checkup.quiet, HELLO(""));
    idle(&checkup.kept, HELLO(""));
    assert_string_equal(found(), "");
    checkup.quiet.stream.ended = false;
    checkup.quiet.answer.ended_us = 10000000;
    assert_string_equal(found(), "idle_limit");
    assert_string_equal(diagnosis.findings[0].word, "5000");
    checkup.quiet.answer.ended_us = 18000000; /* keepalives come sooner */
    assert_string_equal(found(), "");
    assert_int_equal(diagnosis.note_count, 1);
    checkup.kept.stream.ended = false;
    checkup.kept.answer.ended_us = 17000000;
    assert_string_equal(found(), "time_limit");
    checkup.quiet.stream.ended = true;
    assert_string_equal(found(), "cut");
    checkup.kept.stream.ended = true;
    checkup.keepalives = 4;
    assert_string_equal(found(), "keepalives");
}

/* One that began when another was over has waited for its place. */
static void test_streams(void **state)
{
    (void)state;
    checkup.idle_ms = 20000;
    checkup.short_ms = 3000;
    checkup.more_count = 2;
    stream(&checkup.first, HELLO(""), 1, NULL);
    idle(&checkup.quiet, HELLO(""));
    idle(&checkup.kept, HELLO(""));
    idle(&checkup.more[0], HELLO(""));
    idle(&checkup.more[1], HELLO(""));
    assert_string_equal(found(), "");
    json_object_set_new(checkup.more[1].stream.hello, "at", json_integer(1003200));
    assert_string_equal(found(), "streams");
    assert_non_null(strstr(diagnosis.findings[0].what, "1 of 4 streams began only when"));
    checkup.more[1].answer.status = 429;
    checkup.more[1].stream.greeted = false;
    assert_string_equal(found(), "streams");
    assert_non_null(strstr(diagnosis.findings[0].what, "3 of 4 streams"));
    snprintf(checkup.more[1].stream.busy, 100, "too many probes");
    assert_string_equal(found(), ""); /* that is no limit of streams */
    snprintf(checkup.more[1].stream.busy, 100, "too many streams from this address");
    assert_string_equal(found(), "streams");
}

static void test_clocks_and_certificates(void **state)
{
    (void)state;
    stream(&checkup.first, HELLO(""), 1, NULL);
    checkup.first.answer.began_wall_ms = 1000100 + 5100; /* the bridge said 1000100 */
    assert_string_equal(found(), "clock");
    assert_non_null(strstr(diagnosis.findings[0].what, "5.1 s behind"));
    checkup.first.answer.began_wall_ms = 1000100 - 4900;
    assert_string_equal(found(), "");
    checkup.first.answer.certificate_days = 13;
    assert_string_equal(found(), "certificate");
    checkup.first.answer.certificate_days = 14;
    assert_string_equal(found(), "");
}

/* What others say reaches no terminal, and is text for a program. */
static void test_hostile_bytes(void **state)
{
    struct buf out;

    (void)state;
    answered(&checkup.first, 302,
             "HTTP/1.1 302 Found\r\nServer: \x1b[2J\xc2\x9b\xff\r\n"
             "Location: https://x.example/\x1b]0;pwned\x07\xff\r\n");
    assert_string_equal(found(), "redirect");
    buf_init(&out);
    report_text(&checkup, &diagnosis, &out);
    assert_false(out.failed);
    for (size_t i = 0; i < out.len; i++)
        assert_true(out.data[i] == '\n' || (unsigned char)out.data[i] >= ' ');
    assert_null(strstr(out.data, "\xc2\x9b"));
    buf_clear(&out);
    assert_true(report_json(&checkup, &diagnosis, &out));
    json_t *value = json_read(out.data, out.len, 0, NULL);
    assert_non_null(value);
    json_decref(value);
    buf_fini(&out);
}

static void test_places(void **state)
{
    static const struct {
        const char *text, *origin, *path;
    } rows[] = {
        {"https://chat.example", "https://chat.example", ""},
        {"https://Chat.Example/A", "https://chat.example", "/A"},
        {"http://chat.example:8080/live/", "http://chat.example:8080", "/live"},
        {"https://chat.example:443/a/b//", "https://chat.example", "/a/b"},
        {"http://[::1]:8080/v1/threads/t/events?since=0", "http://[::1]:8080", ""},
        {"https://x/live/v1/probe", "https://x", "/live"},
    };
    static const char *const bad[] = {"",
                                      "x y",
                                      "ftp://x",
                                      "https://",
                                      "https://a:b@x/",
                                      "file:///etc/passwd",
                                      "chat.example",
                                      "//x"};
    struct buf err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct place place;
        buf_init(&err);
        assert_true(place_parse(rows[i].text, &place, &err));
        assert_string_equal(place.origin, rows[i].origin);
        assert_string_equal(place.path, rows[i].path);
        buf_fini(&err);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct place place;
        buf_init(&err);
        assert_false(place_parse(bad[i], &place, &err));
        assert_true(err.len > 0);
        assert_null(strstr(err.data, "a:b"));
        buf_fini(&err);
    }
}

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(test_a_good_way),
        fresh(test_lines_and_times),
        fresh(test_odd_streams),
        fresh(test_held_or_busy),
        fresh(test_headers_of_the_answer),
        fresh(test_silence),
        fresh(test_streams),
        fresh(test_clocks_and_certificates),
        fresh(test_hostile_bytes),
        fresh(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
