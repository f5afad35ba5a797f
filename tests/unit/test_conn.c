/* conn: a connection as its peer sees it, over a socket pair and a real loop: answers in
 * order however the bytes are cut, every wait with its limit, no byte lost at the end. */
#include "test_conn_peer.h"

/* --- answers --- */

static void test_keeps_alive(void **state)
{
    struct peer p = peer_new();

    (void)state;
    for (size_t i = 1; i <= 3; i++) {
        peer_say(&p, HEALTH);
        pump(&p, has_answers, &i);
    }
    assert_int_equal(bridge.conn_count, 1);
    assert_non_null(strstr(p.got.data, "\r\nContent-Length: 3\r\n"));
    assert_non_null(strstr(p.got.data, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(p.got.data, "\r\nCache-Control: no-store\r\n"));
    assert_null(strstr(p.got.data, "Connection:"));
    peer_free(&p);
    pump(NULL, no_conns, NULL);
    assert_int_equal(bridge.stats.responses_2xx, 3);
}

static void test_pipeline_in_order(void **state)
{
    struct peer p = peer_new();
    char text[] = HEALTH "GET /nothing HTTP/1.1\r\n" H "\r\n"
                         "HEAD /healthz HTTP/1.1\r\n" H "\r\n"
                         "POST /healthz HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nGET /"
                         "GET /healthz HTTP/1.1\r\n" H "Connection: close\r\n\r\n" HEALTH;
    static const char *const want[] = {"200", "404", "200", "405", "200"};
    const char *at;

    (void)state;
    peer_say(&p, text);
    pump(&p, is_closed, NULL);
    assert_false(p.error);
    at = p.got.data;
    for (size_t i = 0; i < COUNT(want); i++) {
        at = strstr(at, "HTTP/1.1 ");
        assert_non_null(at);
        assert_memory_equal(at + 9, want[i], 3);
        at += 9;
    }
    assert_null(strstr(at, "HTTP/1.1 ")); /* nothing behind the close */
    assert_non_null(strstr(at, "Connection: close\r\n"));
    peer_free(&p);
}

static void test_cut_at_every_byte(void **state)
{
    static const char text[] =
        "POST /healthz HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n{}{}"
        "GET /healthz HTTP/1.1\r\n" H "Connection: close\r\n\r\n";

    (void)state;
    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
        struct peer p = peer_new();
        const int64_t pause = 0;
        peer_send(&p, text, cut);
        pump_for(&p, is_closed, &pause, 0); /* a turn or two in between */
        peer_send(&p, text + cut, sizeof text - 1 - cut);
        pump(&p, is_closed, NULL);
        assert_int_equal(answers(&p), 2);
        assert_non_null(strstr(p.got.data, "HTTP/1.1 405 "));
        assert_non_null(strstr(p.got.data, "\r\n\r\nok\n"));
        peer_free(&p);
    }
}

/* A body where none may be is not read as the next request. */
static void test_smuggling(void **state)
{
    struct peer p = peer_new();

    (void)state;
    peer_say(&p,
             "GET /healthz HTTP/1.1\r\n" H "Content-Length: 44\r\n\r\n" HEALTH HEALTH);
    pump(&p, is_closed, NULL);
    assert_int_equal(answers(&p), 1);
    assert_non_null(strstr(p.got.data, "HTTP/1.1 400 "));
    assert_non_null(strstr(p.got.data, "\"unexpected_body\""));
    assert_int_equal(bridge.stats.http_refused, 1);
    peer_free(&p);
}

static void test_expect_continue(void **state)
{
    struct peer p = peer_new();
    size_t one = 1, two = 2;

    (void)state;
    peer_say(&p, "POST /healthz HTTP/1.1\r\n" H
                 "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    pump(&p, has_answers, &one);
    assert_string_equal(p.got.data, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_say(&p, "{}");
    pump(&p, has_answers, &two);
    assert_non_null(strstr(p.got.data, "HTTP/1.1 405 "));
    peer_free(&p);
}

/* The answer to a body that is too large arrives although the peer is still sending. */
static void test_no_reset_over_the_answer(void **state)
{
    struct peer p = peer_new();
    char *body = calloc(1, 100000);

    (void)state;
    peer_say(&p, "POST /healthz HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
    peer_send(&p, body, 50000);
    pump(&p, has_text, "\"body_too_large\"");
    peer_send(&p, body, 50000); /* still taken, and thrown away */
    pump(&p, is_closed, NULL);
    assert_true(p.eof);
    assert_false(p.error);
    peer_free(&p);
    pump(NULL, no_conns, NULL);
    free(body);
}

static void test_half_closed(void **state)
{
    struct peer p = peer_new();

    (void)state;
    peer_say(&p, HEALTH HEALTH);
    shutdown(p.fd, SHUT_WR);
    pump(&p, is_closed, NULL);
    assert_int_equal(answers(&p), 2);
    assert_false(p.error);
    peer_free(&p);
    pump(NULL, no_conns, NULL);
}

static void test_half_a_request_and_gone(void **state)
{
    struct peer p = peer_new();

    (void)state;
    peer_say(&p, "POST /healthz HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nabc");
    shutdown(p.fd, SHUT_WR);
    pump(&p, is_closed, NULL);
    assert_int_equal(p.got.len, 0);
    peer_free(&p);
}

/* --- limits --- */

static void test_slow_request(void **state)
{
    struct peer p = peer_new();

    (void)state;
    conf.request_timeout_ms = 50;
    peer_say(&p, "GET /healthz HT");
    pump(&p, is_closed, NULL);
    assert_non_null(strstr(p.got.data, "HTTP/1.1 408 "));
    peer_free(&p);
}

static bool dribble(struct peer *p, const void *arg)
{
    (void)arg;
    if (!p->eof)
        send(p->fd, "a", 1, MSG_NOSIGNAL);
    return p->eof;
}

/* Bytes that keep coming do not move the limit. */
static void test_dribbled_body(void **state)
{
    struct peer p = peer_new();

    (void)state;
    conf.request_timeout_ms = 100;
    peer_say(&p, "POST /healthz HTTP/1.1\r\n" H "Content-Length: 60000\r\n\r\n");
    pump(&p, dribble, NULL);
    assert_non_null(strstr(p.got.data, "HTTP/1.1 408 "));
    peer_free(&p);
}

static void test_idle(void **state)
{
    struct peer p = peer_new();

    (void)state;
    conf.idle_timeout_ms = 50;
    pump(&p, is_closed, NULL);
    assert_int_equal(p.got.len, 0);
    peer_free(&p);
}

static bool stalled(struct peer *p, const void *arg)
{
    (void)p;
    return bridge.conn_count == *(const size_t *)arg;
}

/* Asks and never reads. */
static void test_write_stall(void **state)
{
    struct peer p = peer_new();
    size_t none = 0, sent = 0;
    static const char ask[] = "GET /metrics HTTP/1.1\r\n" H "\r\n";

    (void)state;
    conf.write_stall_ms = 50;
    for (int i = 0; i < 300; i++) {
        ssize_t n = send(p.fd, ask, sizeof ask - 1, MSG_NOSIGNAL);
        sent += n > 0;
    }
    assert_true(sent > 50);
    assert_true(pump_for(NULL, stalled, &none, PATIENCE_MS));
    peer_free(&p);
}

static void test_too_many(void **state)
{
    struct peer first, second, third;

    (void)state;
    conf.max_connections = 1;
    first = peer_new();
    second = peer_new();
    third = peer_new();
    pump(&third, is_closed, NULL); /* twice the limit: not even told */
    peer_say(&second, "GET /v1/threads HTTP/1.1\r\n" H "\r\n");
    pump(&second, is_closed, NULL);
    assert_non_null(strstr(second.got.data, "HTTP/1.1 503 "));
    assert_non_null(strstr(second.got.data, "\r\nRetry-After: 1\r\n"));
    assert_non_null(strstr(second.got.data, "Connection: close\r\n"));
    peer_say(&first, HEALTH);
    pump(&first, has_text, "\r\n\r\nok\n");
    assert_int_equal(bridge.stats.limit_connections, 2);
    peer_free(&first);
    peer_free(&second);
    peer_free(&third);
}

/* --- draining --- */

static void test_drain(void **state)
{
    struct peer idle = peer_new(), busy = peer_new(), fresh = peer_new();
    struct peer silent = peer_new();

    (void)state;
    peer_say(&idle, HEALTH);
    pump(&idle, has_text, "\r\n\r\nok\n");
    peer_say(&busy, "GET /healthz HTTP/1.1\r\n");
    assert_false(pump_for(&busy, is_closed, NULL, 20));
    bridge.draining = bridge.leaving = true;
    conns_drain(&bridge);
    pump(&idle, is_closed, NULL);
    assert_false(idle.error);
    peer_say(&fresh, HEALTH); /* was on its way when we decided to leave */
    pump(&fresh, is_closed, NULL);
    assert_non_null(strstr(fresh.got.data, "\r\n\r\nok\n"));
    pump(&silent, is_closed, NULL); /* nobody waits long for what never comes */
    assert_false(silent.error);
    peer_say(&busy, H "\r\n");
    pump(&busy, is_closed, NULL);
    assert_non_null(strstr(busy.got.data, "\r\n\r\nok\n"));
    assert_non_null(strstr(busy.got.data, "Connection: close\r\n"));
    peer_free(&idle);
    peer_free(&busy);
    peer_free(&fresh);
    peer_free(&silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keeps_alive),
        TEST(test_pipeline_in_order),
        TEST(test_cut_at_every_byte),
        TEST(test_smuggling),
        TEST(test_expect_continue),
        TEST(test_no_reset_over_the_answer),
        TEST(test_half_closed),
        TEST(test_half_a_request_and_gone),
        TEST(test_slow_request),
        TEST(test_dribbled_body),
        TEST(test_idle),
        TEST(test_write_stall),
        TEST(test_too_many),
        TEST(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
