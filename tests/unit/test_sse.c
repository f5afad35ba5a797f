/* msg and sse: what stands on the wire, to the letter. */
#include "bridge/sse.h"

#include "unit.h"

static struct msg *event(const char *json)
{
    struct event_view view;
    assert_int_equal(event_check(json, strlen(json), "t1", 2, &view), EVENT_OK);
    struct msg *m = msg_event(json, strlen(json), &view, NULL);
    assert_non_null(m);
    return m;
}

static void wire_is(const struct msg *m, const char *block)
{
    char want[2048];
    snprintf(want, sizeof(want), "%zx\r\n%s\r\n", strlen(block), block);
    assert_int_equal(m->len, strlen(want));
    assert_memory_equal(m->data, want, m->len);
}

#define TOKEN(id, text)                                                                  \
    "{\"id\":\"" id "\",\"type\":\"token\",\"threadId\":\"t1\",\"content\":\"" text      \
    "\",\"ts\":1,\"runId\":\"r1\"}"

static void test_event_has_its_id_last(void **state)
{
    (void)state;
    struct msg *m = event(TOKEN("17-3", "hé\\n"));
    wire_is(m, "data: " TOKEN("17-3", "hé\\n") "\nid: 17-3\n\n");
    assert_int_equal(m->run_len, 2);
    assert_memory_equal(m->data + m->run_at, "r1", 2);
    assert_int_equal(m->type, EVENT_TOKEN);
    msg_unref(m);
}

static void test_bare_event_has_no_id(void **state)
{
    (void)state;
    struct msg *m = event("{\"type\":\"test\",\"content\":\"hello\"}");
    wire_is(m, "data: {\"type\":\"test\",\"content\":\"hello\"}\n\n");
    msg_unref(m);
}

/* On both sides of where the chunk's length gets another digit. */
static void test_chunks_of_all_lengths(void **state)
{
    static const size_t blocks[] = {0xf1, 0xff, 0x100, 0xfff, 0x1000, 0xffff, 0x10000};
    static const char frame[] = "data: {\"type\":\"test\",\"content\":\"\"}\n\n";
    char json[0x10100], want[16];

    (void)state;
    for (size_t i = 0; i < COUNT(blocks); i++) {
        int head = snprintf(want, sizeof(want), "%zx\r\n", blocks[i]);
        int pad = (int)(blocks[i] - strlen(frame));
        snprintf(json, sizeof(json), "{\"type\":\"test\",\"content\":\"%0*d\"}", pad, 0);
        struct msg *m = event(json);
        assert_int_equal(m->head, head);
        assert_int_equal(m->len, (size_t)head + blocks[i] + 2);
        assert_memory_equal(m->data, want, (size_t)head);
        assert_memory_equal(m->data + m->len - 4, "\n\n\r\n", 4);
        msg_unref(m);
    }
}

static void test_line_breaks_cannot_leave_the_line(void **state)
{
    (void)state;
    struct msg *m = event("{\r\n\"type\":\n\"test\"\r}\n");
    wire_is(m, "data: {  \"type\": \"test\" } \n\n");
    msg_unref(m);
}

static void test_positions_of_several_threads(void **state)
{
    (void)state;
    struct event_view view;
    const char *json = TOKEN("17-3", "x");
    assert_int_equal(event_check(json, strlen(json), "t1", 2, &view), EVENT_OK);
    struct msg *m = msg_event(json, strlen(json), &view, "17-3,0,9-1");
    wire_is(m, "data: " TOKEN("17-3", "x") "\nid: 17-3,0,9-1\n\n");
    msg_unref(m);
}

static void test_named_events(void **state)
{
    (void)state;
    struct msg *m = sse_named("bye", "{\"a\":1}", "17-3", 1500);
    wire_is(m, "event: bye\ndata: {\"a\":1}\nretry: 1500\nid: 17-3\n\n");
    msg_unref(m);
    m = sse_named("busy", "{}", NULL, 0);
    wire_is(m, "event: busy\ndata: {}\n\n");
    msg_unref(m);
}

/* What a reader of that kind is sent, as a string. */
static const char *sent(struct msg *m, size_t len)
{
    static char out[1024];
    assert_non_null(m);
    assert_true(len < sizeof(out));
    memcpy(out, m->data, len);
    out[len] = '\0';
    msg_unref(m);
    return out;
}

static void test_heads(void **state)
{
    (void)state;
    struct msg *m = sse_head(false, false, "Vary: Origin\r\n", 2000);
    const char *head = sent(m, m->len);
    assert_memory_equal(head, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr(head, "\r\nVary: Origin\r\n"));
    assert_non_null(strstr(head, "chunked\r\n\r\n18\r\nretry: 2000\n:threadcast\n\r\n"));
    m = sse_head(true, false, NULL, 2000);
    head = sent(m, m->len - MSG_TAIL); /* an HTTP/1.0 reader gets all but the tail */
    assert_null(strstr(head, "chunked"));
    assert_non_null(strstr(head, "Connection: close\r\n"));
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\nretry: 2000\n:threadcast\n");
}

static void test_merge_keeps_text_and_the_last_id(void **state)
{
    (void)state;
    struct msg *a = event(TOKEN("17-3", "Hel")), *b = event(TOKEN("17-4", "lo \\\"x"));
    struct msg *m = sse_merge(a, b);
    assert_non_null(m);
    wire_is(m, "data: " TOKEN("17-4", "Hello \\\"x") "\nid: 17-4\n\n");
    msg_unref(m);
    msg_unref(a);
    msg_unref(b);
}

static void test_merge_refuses(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {TOKEN("17-3", "a"), "{\"type\":\"token\",\"content\":\"b\"}"},
        {TOKEN("17-3", "a"), "{\"id\":\"17-4\",\"type\":\"token\",\"threadId\":\"t1\","
                             "\"content\":\"b\",\"ts\":1,\"runId\":\"r2\"}"},
        {TOKEN("17-3", "a"), "{\"id\":\"17-4\",\"type\":\"status\",\"threadId\":\"t1\","
                             "\"content\":{},\"ts\":1,\"runId\":\"r1\"}"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct msg *a = event(pairs[i][0]), *b = event(pairs[i][1]);
        assert_null(sse_merge(a, b));
        msg_unref(a);
        msg_unref(b);
    }
}

static void test_merge_stays_small(void **state)
{
    (void)state;
    struct msg *a = event(TOKEN("17-1", "start"));
    int merged = 0;
    for (int i = 2; i < 2000; i++) {
        char json[160];
        snprintf(json, sizeof(json),
                 "{\"id\":\"17-%d\",\"type\":\"token\",\"threadId\":\"t1\",\"content\":"
                 "\"0123456789\",\"ts\":1,\"runId\":\"r1\"}",
                 i);
        struct msg *b = event(json), *m = sse_merge(a, b);
        msg_unref(b);
        if (!m)
            break;
        msg_unref(a);
        a = m;
        merged++;
    }
    assert_in_range(merged, 100, 1000);
    assert_in_range(a->json_len, 2000, 4096);
    msg_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_has_its_id_last),
        cmocka_unit_test(test_bare_event_has_no_id),
        cmocka_unit_test(test_chunks_of_all_lengths),
        cmocka_unit_test(test_line_breaks_cannot_leave_the_line),
        cmocka_unit_test(test_positions_of_several_threads),
        cmocka_unit_test(test_named_events),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_merge_keeps_text_and_the_last_id),
        cmocka_unit_test(test_merge_refuses),
        cmocka_unit_test(test_merge_stays_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
