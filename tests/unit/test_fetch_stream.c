/* fetch: answers that are handed over as they come, against a server in the same loop
 * that writes what the test tells it to. */
#include "common/fetch.h"

#include "common/loop.h"
#include "test_wait.h"
#include "unit.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <signal.h>
#include <sys/socket.h>

#define OVERDUE_MS 20000
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

/* Their side. */
static struct {
    struct evconnlistener *listener;
    struct bufferevent *peer; /* the last connection */
    int port, accepted, asked, gone;
} server;

static struct loop *loop;
static struct fetcher *fetcher;

/* What a reader heard. */
struct heard {
    struct fetch *fetch;
    int heads, status, ends, end_status, pieces;
    char kind[64], why[256];
    struct buf body;
    bool pause_at_once, cancel_at_once, leave_at_once;
};

static void on_head(struct fetch *q, int status, void *arg)
{
    struct heard *h = arg;
    const char *kind = fetch_header(q, "content-type");

    assert_int_equal(h->body.len, 0);
    h->heads++;
    h->status = status;
    snprintf(h->kind, sizeof(h->kind), "%s", kind ? kind : "");
}

static void on_body(struct fetch *q, const char *data, size_t len, void *arg)
{
    struct heard *h = arg;

    assert_int_equal(h->heads, 1);
    assert_int_equal(h->ends, 0);
    assert_true(len > 0);
    h->pieces++;
    buf_add(&h->body, data, len);
    if (h->pause_at_once)
        fetch_pause(q);
    if (h->cancel_at_once)
        fetch_cancel(q);
    if (h->leave_at_once)
        fetch_leave(q);
}

static void on_end(const struct fetch_answer *a, void *arg)
{
    struct heard *h = arg;

    assert_int_equal(a->body_len, 0);
    h->ends++;
    h->end_status = a->status;
    snprintf(h->why, sizeof(h->why), "%s", a->why);
}

static const struct fetch_reader reader = {on_head, on_body};

static void on_request(struct bufferevent *bev, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(bev);

    (void)arg;
    if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0)
        return;
    evbuffer_drain(in, evbuffer_get_length(in));
    server.asked++;
}

static void on_gone(struct bufferevent *bev, short what, void *arg)
{
    (void)what, (void)arg;
    server.gone++;
    if (server.peer == bev)
        server.peer = NULL;
    bufferevent_free(bev);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr,
                      int len, void *arg)
{
    (void)l, (void)addr, (void)len, (void)arg;
    server.accepted++;
    server.peer = bufferevent_socket_new(loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(server.peer, on_request, NULL, on_gone, NULL);
    bufferevent_enable(server.peer, EV_READ | EV_WRITE);
}

static int setup(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct buf err;

    (void)state;
    memset(&server, 0, sizeof(server));
    loop = loop_new();
    server.listener =
        evconnlistener_new_bind(loop_base(loop), on_accept, NULL, LEV_OPT_CLOSE_ON_FREE,
                                64, (struct sockaddr *)&a, sizeof(a));
    assert_non_null(server.listener);
    getsockname(evconnlistener_get_fd(server.listener), (struct sockaddr *)&a, &len);
    server.port = ntohs(a.sin_port);
    buf_init(&err);
    fetcher = fetcher_new(loop, NULL, &err);
    buf_fini(&err);
    return fetcher ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    fetcher_free(fetcher);
    if (server.peer)
        bufferevent_free(server.peer);
    evconnlistener_free(server.listener);
    loop_free(loop);
    return 0;
}

/* --- steps ------------------------------------------------------------------------ */

static bool is_asked(void *arg)
{
    return server.asked >= *(int *)arg;
}

static void begin(struct heard *h, size_t body_max)
{
    char url[64];
    int asked = server.asked + 1;
    struct fetch_request r = {.url = url,
                              .body = "{}",
                              .body_len = 2,
                              .total_ms = OVERDUE_MS,
                              .body_max = body_max,
                              .reader = &reader};

    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", server.port);
    buf_init(&h->body);
    buf_str(&h->body, "");
    h->fetch = fetch_start(fetcher, &r, on_end, h);
    assert_non_null(h->fetch);
    assert_int_equal(h->heads + h->pieces + h->ends, 0);
    assert_true(test_wait(loop, is_asked, &asked, OVERDUE_MS));
}

static void send_text(const char *text)
{
    assert_non_null(server.peer);
    bufferevent_write(server.peer, text, strlen(text));
}

struct wanted {
    struct heard *h;
    size_t len;
};

static bool has_body(void *arg)
{
    const struct wanted *w = arg;

    return w->h->body.len >= w->len;
}

static void wait_body(struct heard *h, size_t len)
{
    struct wanted w = {h, len};

    assert_true(test_wait(loop, has_body, &w, OVERDUE_MS));
    assert_int_equal(h->body.len, len);
}

static bool has_head(void *arg)
{
    return ((struct heard *)arg)->heads > 0;
}

static bool has_end(void *arg)
{
    return ((struct heard *)arg)->ends > 0;
}

static void wait_end(struct heard *h, int status)
{
    assert_true(test_wait(loop, has_end, h, OVERDUE_MS));
    assert_int_equal(h->ends, 1);
    assert_int_equal(h->end_status, status);
    buf_fini(&h->body);
}

static bool is_gone(void *arg)
{
    (void)arg;
    return server.gone > 0;
}

/* --- tests ------------------------------------------------------------------------ */

static void pieces_come_as_they_are_sent(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 0);
    send_text(CHUNKED);
    assert_true(test_wait(loop, has_head, &h, OVERDUE_MS)); /* before any body */
    assert_int_equal(h.status, 200);
    assert_string_equal(h.kind, "text/event-stream");
    send_text("3\r\nabc\r\n");
    wait_body(&h, 3);
    send_text("3\r\nd");
    wait_body(&h, 4);
    send_text("ef\r\n");
    wait_body(&h, 6);
    assert_string_equal(h.body.data, "abcdef");
    assert_int_equal(h.ends, 0);
    send_text("0\r\n\r\n");
    wait_end(&h, 200);
    assert_string_equal(h.why, "");
}

static void an_interim_answer_is_none(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 0);
    send_text("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n");
    send_text("HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno");
    wait_body(&h, 2);
    assert_int_equal(h.heads, 1);
    assert_int_equal(h.status, 429);
    wait_end(&h, 429);
}

static void an_answer_without_a_body_has_a_head(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 0);
    send_text("HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n");
    wait_end(&h, 503);
    assert_int_equal(h.heads, 1);
    assert_int_equal(h.pieces, 0);
}

static void what_was_sent_before_a_cut_is_heard(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 0);
    send_text(CHUNKED "5\r\nhello\r\n");
    wait_body(&h, 5);
    shutdown(bufferevent_getfd(server.peer), SHUT_WR);
    wait_end(&h, 0);
    assert_string_not_equal(h.why, "");
}

static void more_than_allowed_is_a_failure(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 6);
    send_text(CHUNKED "5\r\nhello\r\n");
    wait_body(&h, 5);
    send_text("5\r\nhello\r\n");
    wait_end(&h, 0);
    assert_string_equal(h.why, "the answer is larger than it may be");
}

/* The reader pauses: what comes waits here, then with curl, then with the other end. */
static void a_pause_holds_the_other_end_back(void **state)
{
    static char piece[65536];
    const size_t sent = sizeof(piece) * 256; /* 16 MiB, more than sockets hold */
    struct heard h = {.pause_at_once = true};
    size_t waiting = SIZE_MAX, before;

    (void)state;
    memset(piece, 'x', sizeof(piece));
    begin(&h, sent + 1);
    evbuffer_add_printf(bufferevent_get_output(server.peer),
                        HEAD "Content-Length: %zu\r\n\r\n", sent);
    for (size_t i = 0; i < sent / sizeof(piece); i++)
        bufferevent_write(server.peer, piece, sizeof(piece));
    do { /* until nothing moves any more */
        before = waiting;
        test_turns(loop, 2000);
        waiting = evbuffer_get_length(bufferevent_get_output(server.peer));
    } while (waiting != before);
    assert_int_equal(h.pieces, 1);
    assert_true(waiting > sent / 4);
    before = h.body.len;
    fetch_resume(h.fetch); /* for one piece more */
    test_turns(loop, 100);
    assert_int_equal(h.pieces, 2);
    assert_true(h.body.len > before);
    h.pause_at_once = false;
    fetch_resume(h.fetch);
    wait_body(&h, sent);
    wait_end(&h, 200);
}

/* The end waits for the reader, too. */
static void the_end_comes_behind_the_body(void **state)
{
    struct heard h = {.pause_at_once = true};

    (void)state;
    begin(&h, 0);
    send_text(CHUNKED "1\r\na\r\n");
    wait_body(&h, 1);
    send_text("1\r\nb\r\n0\r\n\r\n");
    test_turns(loop, 200);
    assert_int_equal(h.ends, 0);
    h.pause_at_once = false;
    fetch_resume(h.fetch);
    wait_body(&h, 2);
    wait_end(&h, 200);
}

static void a_reader_may_cancel(void **state)
{
    struct heard h = {.cancel_at_once = true}, other = {0};

    (void)state;
    begin(&h, 0);
    send_text(CHUNKED "1\r\na\r\n");
    assert_true(test_wait(loop, is_gone, NULL, OVERDUE_MS));
    assert_int_equal(h.pieces, 1);
    begin(&other, 0);
    send_text(CHUNKED "1\r\na\r\n0\r\n\r\n");
    wait_end(&other, 200);
    assert_int_equal(h.ends, 0);
    buf_fini(&h.body);
}

static void cancelled_between_pieces(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 0);
    send_text(CHUNKED "1\r\na\r\n");
    wait_body(&h, 1);
    fetch_cancel(h.fetch);
    assert_true(test_wait(loop, is_gone, NULL, OVERDUE_MS));
    assert_int_equal(h.ends, 0);
    buf_fini(&h.body);
}

/* What is left is read to its end, and the connection is used again. */
static void one_that_is_left_keeps_its_connection(void **state)
{
    struct heard h = {0}, next = {0};

    (void)state;
    begin(&h, 0);
    send_text(CHUNKED "1\r\na\r\n");
    wait_body(&h, 1);
    fetch_leave(h.fetch);
    send_text("1\r\nb\r\n0\r\n\r\n");
    test_turns(loop, 200);
    begin(&next, 0);
    send_text(CHUNKED "0\r\n\r\n");
    wait_end(&next, 200);
    assert_int_equal(server.accepted, 1);
    assert_int_equal(h.ends, 0);
    assert_int_equal(h.body.len, 1);
    buf_fini(&h.body);
}

/* … but not for ever, nor however much. */
static void one_that_is_left_and_goes_on_is_closed(void **state)
{
    struct heard h = {0};

    (void)state;
    begin(&h, 1 << 20);
    send_text(CHUNKED "1\r\na\r\n");
    wait_body(&h, 1);
    fetch_leave(h.fetch);
    assert_true(test_wait(loop, is_gone, NULL, OVERDUE_MS));
    buf_fini(&h.body);
}

static void left_in_its_own_callback_and_with_the_fetcher(void **state)
{
    struct heard h = {.leave_at_once = true}, other = {0};

    (void)state;
    fetch_leave(NULL);
    begin(&h, 0);
    send_text(CHUNKED "1\r\na\r\n");
    assert_true(test_wait(loop, is_gone, NULL, OVERDUE_MS));
    begin(&other, 0);
    send_text(CHUNKED "1\r\na\r\n");
    wait_body(&other, 1);
    fetch_leave(other.fetch); /* it ends with the fetcher */
    assert_int_equal(h.ends + other.ends, 0);
    buf_fini(&h.body);
    buf_fini(&other.body);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(pieces_come_as_they_are_sent),
        served(an_interim_answer_is_none),
        served(an_answer_without_a_body_has_a_head),
        served(what_was_sent_before_a_cut_is_heard),
        served(more_than_allowed_is_a_failure),
        served(a_pause_holds_the_other_end_back),
        served(the_end_comes_behind_the_body),
        served(a_reader_may_cancel),
        served(cancelled_between_pieces),
        served(one_that_is_left_keeps_its_connection),
        served(one_that_is_left_and_goes_on_is_closed),
        served(left_in_its_own_callback_and_with_the_fetcher),
    };

    signal(SIGPIPE, SIG_IGN); /* as a daemon's loop does */
    for (const char *const *name =
             (const char *const[]){"http_proxy", "all_proxy", "ALL_PROXY", NULL};
         *name; name++)
        unsetenv(*name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
