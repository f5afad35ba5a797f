/* conn: many at once. A turn serves some of them, in an order in which everybody comes to
 * be served, however much the others ask for. */
#include "test_conn_peer.h"

/* No turn is long because many come, or are sent away, at once: it serves 16 of them. */

static uint64_t served, most;

static void on_turn_end(void *arg)
{
    uint64_t now = bridge.stats.http_requests + bridge.stats.http_refused;
    (void)arg;
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
    (void)arg;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_crowd_in_many_turns),
        TEST(test_nobody_is_kept_out),
        TEST(test_nobody_is_kept_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
