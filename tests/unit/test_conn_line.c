/* conn: many at once. A turn serves some of them, in an order in which everybody comes to
 * be served, however much the others ask for. */
#include "test_conn_peer.h"

#include "bridge/conn_internal.h"
#include "bridge/round.h"
#include "common/mailbox.h"

/* No turn is long because many come, or are sent away, at once: it serves 16 of them. */

static uint64_t served, most;

static void on_turn_end(void *arg)
{
    uint64_t now = bridge.stats.http_requests + bridge.stats.http_refused;
    (void)arg;
    if (now < served) /* another test */
        served = most = 0;
    most = now - served > most ? now - served : most;
    served = now;
}

static void test_a_crowd_in_many_turns(void **state)
{
    static const char *const rows[][2] = {{HEALTH, "\r\n\r\nok\n"}, {"GET /", "408"}};
    struct peer crowd[50];
    (void)state;
    conf.max_connections = COUNT(crowd);
    conf.request_timeout_ms = 100;
    loop_on_turn_end(bridge.loop, on_turn_end, NULL);
    for (size_t round = 0; round < COUNT(rows); round++) {
        for (size_t i = 0; i < COUNT(crowd); i++) {
            crowd[i] = peer_new();
            peer_say(&crowd[i], rows[round][0]);
        }
        for (size_t i = 0; i < COUNT(crowd); peer_free(&crowd[i++]))
            pump(&crowd[i], has_text, rows[round][1]);
        assert_in_range(most, 1, 16);
    }
}

/* --- those who never stop asking --- */

enum { HOGS = 40, BATCH = 64 };

static struct peer hogs[HOGS];

/* There is always a request of each to be read, and always room for the answer. */
static void keep_asking(void)
{
    static char batch[BATCH * sizeof HEALTH];

    if (!batch[0])
        for (size_t i = 0; i < BATCH; i++)
            strcat(batch, HEALTH);
    for (size_t i = 0; i < HOGS; i++) {
        char bytes[65536];
        ssize_t n;
        while ((n = recv(hogs[i].fd, bytes, sizeof bytes, 0)) > 0)
            ;
        assert_true(n < 0 && errno == EAGAIN);
        n = send(hogs[i].fd, batch, strlen(batch), MSG_NOSIGNAL);
        assert_true(n > 0 ||
                    errno == EAGAIN); /* what it sends in part is in order, too */
        if (n > 0 && (size_t)n < strlen(batch))
            send(hogs[i].fd, batch + n, strlen(batch) - (size_t)n, MSG_NOSIGNAL);
    }
}

static uint64_t turns;

static void on_busy_turn(void *arg)
{
    on_turn_end(arg);
    turns++;
    keep_asking();
}

static bool has_been_busy(struct peer *p, const void *arg)
{
    (void)p;
    (void)arg;
    return bridge.stats.http_requests > 10 * HOGS;
}

static void test_nobody_is_kept_out(void **state)
{
    struct peer p;
    uint64_t from;

    (void)state;
    conf.max_connections = HOGS + 1;
    for (size_t i = 0; i < HOGS; i++)
        hogs[i] = peer_new();
    p = peer_new();
    keep_asking();
    loop_on_turn_end(bridge.loop, on_busy_turn, NULL);
    pump(NULL, has_been_busy, NULL);
    from = turns;
    peer_say(&p, HEALTH);
    pump(&p, has_text, "\r\n\r\nok\n");
    assert_in_range(turns - from, 1, 2 * HOGS);
    assert_in_range(most, 1, 16 * 8); /* however many requests have come in one piece */
    for (size_t i = 0; i < HOGS; i++)
        peer_free(&hogs[i]);
    peer_free(&p);
}

/* A limit comes in its turn, too. */
static void test_nobody_is_kept_in(void **state)
{
    struct peer p;

    (void)state;
    conf.max_connections = HOGS + 1;
    conf.request_timeout_ms = 500;
    for (size_t i = 0; i < HOGS; i++)
        hogs[i] = peer_new();
    p = peer_new();
    keep_asking();
    loop_on_turn_end(bridge.loop, on_busy_turn, NULL);
    peer_say(&p, "GET /");
    pump(&p, has_text, "408");
    for (size_t i = 0; i < HOGS; i++)
        peer_free(&hogs[i]);
    peer_free(&p);
}

/* --- a place in line --- */

static struct conn *first_conn(void)
{
    return LIST_ITEM(bridge.conns.next, struct conn, node);
}

/* A turn that has no step left. */
static void fill_turn(void)
{
    while (slice_take(&bridge.slice, 16))
        ;
}

/* What had arrived counts, though the limit came before its turn. */
static void test_bytes_before_the_limit(void **state)
{
    struct peer p = peer_new();
    struct conn *c = first_conn();

    (void)state;
    peer_say(&p, HEALTH);
    fill_turn();
    conn_on_readable(c->fd, EV_READ, c);
    conn_on_limit(c->fd, EV_TIMEOUT, c);
    pump(&p, has_text, "\r\n\r\nok\n");
    assert_int_equal(bridge.stats.conn_idle, 0);
    peer_free(&p);
}

/* We leave, and its second request is here, and not yet read. */
static void test_asked_before_we_leave(void **state)
{
    static const size_t two = 2;
    struct peer p = peer_new();
    struct conn *c = first_conn();

    (void)state;
    peer_say(&p, HEALTH);
    pump(&p, has_text, "\r\n\r\nok\n");
    peer_say(&p, HEALTH);
    fill_turn();
    conn_on_readable(c->fd, EV_READ, c);
    bridge.leaving = true;
    conns_drain(&bridge);
    pump(&p, has_answers, &two);
    pump(&p, is_closed, NULL);
    peer_free(&p);
}

/* Who is one too many and says nothing does not stay as long as others may. */
static void test_too_many_are_in_a_hurry(void **state)
{
    struct peer p[2];

    (void)state;
    conf.max_connections = 1;
    conf.idle_timeout_ms = 60000;
    p[0] = peer_new();
    p[1] = peer_new();
    pump(&p[1], is_closed, NULL);
    peer_read(&p[0]);
    assert_false(p[0].eof);
    peer_free(&p[0]);
    peer_free(&p[1]);
}

/* --- libevent has no memory --- */

static bool stingy;

static void *stingy_realloc(void *p, size_t size)
{
    return stingy ? NULL : realloc(p, size);
}

/* Whose events cannot be waited for is closed: it would be silent for good. */
static void test_no_room_for_an_event(void **state)
{
    struct peer crowd[40];
    size_t closed = 0;

    (void)state;
    conf.max_connections = COUNT(crowd);
    conf.request_timeout_ms = conf.idle_timeout_ms = 100;
    event_set_mem_functions(malloc, stingy_realloc, free);
    for (size_t i = 0; i < COUNT(crowd); i++) {
        stingy = i >= 4;
        crowd[i] = peer_new();
        peer_read(&crowd[i]);
        closed += crowd[i].eof;
    }
    stingy = false;
    assert_in_range(closed, 1, COUNT(crowd) - 1);
    assert_int_equal(bridge.stats.conn_memory, closed);
    for (size_t i = 0; i < COUNT(crowd); i++)
        pump(&crowd[i], is_closed, NULL);
    for (size_t i = 0; i < COUNT(crowd); i++)
        peer_free(&crowd[i]);
}

/* --- a limit that another has replaced --- */

#define METRICS "GET /metrics HTTP/1.1\r\n" H "\r\n"

static struct bridge beside;

/* A second reactor, which answers when it is told to. */
static void begin_beside(void)
{
    static struct bridge *both[] = {&bridge, &beside};
    static struct report reports[COUNT(both)];

    conf.max_rounds = 2;
    conf.upstream_timeout_ms = 60000;
    beside = bridge;
    beside.number = 1;
    beside.loop = loop_new();
    beside.mailbox = mailbox_new(beside.loop);
    bridge.mailbox = mailbox_new(bridge.loop);
    reactors.all = both;
    reactors.reports = reports;
    reactors.count = COUNT(both);
}

static void end_beside(void)
{
    mailbox_free(bridge.mailbox);
    mailbox_free(beside.mailbox);
    loop_free(beside.loop);
    reactors.all = only;
    reactors.reports = &report;
    reactors.count = COUNT(only);
}

static bool line_is_empty(struct peer *p, const void *arg)
{
    (void)p;
    (void)arg;
    return list_empty(&bridge.conns_line);
}

static bool waits_for(struct peer *p, const void *wait)
{
    (void)p;
    return first_conn()->wait == *(const enum conn_wait *)wait;
}

/* Its limit comes in a turn that is full, when it waits for room to write; before it is
 * its turn there is room, and what it asked next waits for an answer, which no limit
 * ends. */
static void test_a_limit_that_is_no_more(void **state)
{
    static const enum conn_wait answer = WAIT_ANSWER, room = WAIT_WRITE;
    static const size_t two = 2;
    struct peer p = peer_new();
    struct conn *c = first_conn();

    (void)state;
    begin_beside();
    assert_return_code(
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int)), errno);
    peer_say(&p, METRICS METRICS);
    pump(NULL, waits_for, &answer);
    assert_true(mailbox_deliver(beside.mailbox));
    pump(NULL, waits_for, &room);
    fill_turn();
    conn_on_limit(c->fd, EV_TIMEOUT, c);
    assert_true(list_linked(&c->line));
    while (c->wait == WAIT_WRITE) {
        peer_read(&p);
        conn_on_writable(c->fd, EV_WRITE, c);
    }
    pump(NULL, line_is_empty, NULL);
    assert_int_equal(c->wait, WAIT_ANSWER);
    assert_true(mailbox_deliver(beside.mailbox));
    pump(&p, has_answers, &two);
    assert_int_equal(bridge.stats.conn_stalled, 0);
    peer_free(&p);
    pump(NULL, no_conns, NULL);
    end_beside();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_crowd_in_many_turns),   TEST(test_nobody_is_kept_out),
        TEST(test_nobody_is_kept_in),       TEST(test_bytes_before_the_limit),
        TEST(test_asked_before_we_leave),   TEST(test_too_many_are_in_a_hurry),
        TEST(test_a_limit_that_is_no_more), TEST(test_no_room_for_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
