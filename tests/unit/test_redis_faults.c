/* A real redis-server that dies, hangs, loads, refuses; and owners who pull the ground
 * from under the dispatch. */
#include "common/redis.h"

#include "test_redis_probe.h"
#include "test_redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct test_redis server;

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    test_redis_start(&server, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_redis_stop(&server);
    return 0;
}

static void open_server(struct probe *p, struct redis_options o,
                        const struct redis_events *events)
{
    char url[64];

    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.port);
    probe_open(p, url, o, events);
}

static void open_ready(struct probe *p, struct redis_options o)
{
    open_server(p, o, NULL);
    assert_true(probe_wait(p, &p->ready, 1));
}

static void test_restart(void **state)
{
    struct probe p;
    char run_id[41];

    (void)state;
    open_ready(&p, (struct redis_options){.backoff_ms = 100});
    memcpy(run_id, redis_run_id(p.redis), sizeof(run_id));
    kill(server.pid, SIGSTOP);
    redis_sendv(p.redis, probe_reply, &p, "SET", "a", "b", NULL);
    redis_sendv(p.redis, probe_reply, &p, "SET", "a", "c", NULL);
    test_turns(p.loop, 2);
    test_redis_kill(&server);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_int_equal(p.nulls, 2);
    assert_int_equal(redis_state(p.redis), REDIS_WAITING);
    assert_string_equal(redis_run_id(p.redis), "");
    assert_false(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
    test_redis_run(&server, true);
    assert_true(probe_wait(&p, &p.ready, 2));
    assert_string_not_equal(redis_run_id(p.redis), run_id);
    assert_int_equal(redis_reconnects(p.redis), 1);
    assert_int_equal(redis_counters(p.redis)->lost, 1);
    probe_close(&p);
}

static void test_hang(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct redis_options){
                       .reply_ms = 200, .connect_ms = 200, .backoff_ms = 100});
    kill(server.pid, SIGSTOP);
    redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_string_equal(p.why, "no reply for 200 ms");
    assert_int_equal(p.nulls, 1);
    assert_true(probe_wait(&p, &p.down, 2));
    assert_string_equal(p.why, "no answer to the handshake for 200 ms");
    assert_int_equal(redis_counters(p.redis)->timeouts, 2);
    kill(server.pid, SIGCONT);
    assert_true(probe_wait(&p, &p.ready, 2));
    probe_close(&p);
}

/* Commands keep coming and are answered: the timer is of the oldest only. */
static void test_busy_is_not_silent(void **state)
{
    struct probe p;
    int64_t until_ms;

    (void)state;
    open_ready(&p, (struct redis_options){.reply_ms = 50});
    until_ms = clock_ms() + 200;
    while (clock_ms() < until_ms) {
        redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
        assert_true(probe_wait(&p, &p.replies, p.replies + 1));
    }
    assert_int_equal(p.down, 0);
    probe_close(&p);
}

static void test_client_kill(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct redis_options){.backoff_ms = 100});
    for (int i = 1; i <= 5; i++) {
        assert_true(test_redis_do(&server, "CLIENT KILL TYPE normal"));
        assert_true(probe_wait(&p, &p.ready, i + 1));
        assert_int_equal(p.down, i);
    }
    assert_int_equal(redis_reconnects(p.redis), 5);
    probe_close(&p);
}

static void test_loading(void **state)
{
    struct probe p;

    (void)state;
    assert_true(test_redis_do(&server, "DEBUG POPULATE 2000 k 100"));
    assert_true(test_redis_do(&server, "SAVE"));
    test_redis_kill(&server);
    server.extra[0] = "--key-load-delay", server.extra[1] = "300";
    server.extra[2] = "--loading-process-events-interval-bytes";
    server.extra[3] = "1024";
    test_redis_run(&server, false);
    open_server(&p, (struct redis_options){.backoff_ms = 50}, NULL);
    while (p.ready == 0 && !strstr(p.why, "LOADING"))
        assert_true(probe_wait(&p, &p.down, p.down + 1));
    assert_string_equal(p.why, "PING: LOADING Redis is loading the dataset in memory");
    assert_true(probe_wait(&p, &p.ready, 1));
    probe_close(&p);
    memset(server.extra, 0, sizeof(server.extra));
}

static void test_masterdown(void **state)
{
    struct probe p;

    (void)state;
    assert_true(test_redis_do(&server, "CONFIG SET replica-serve-stale-data no"));
    assert_true(test_redis_do(&server, "REPLICAOF 127.0.0.1 1"));
    open_server(&p, (struct redis_options){.backoff_ms = 50}, NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_memory_equal(p.why, "PING: MASTERDOWN", 16);
    assert_true(test_redis_do(&server, "REPLICAOF NO ONE"));
    assert_true(probe_wait(&p, &p.ready, 1));
    probe_close(&p);
}

/* Redis that cannot save refuses writes, and PING; it can still be read. */
static void test_misconf(void **state)
{
    struct probe p;
    char out[256] = "";

    (void)state;
    assert_true(test_redis_do(&server, "CONFIG SET save \"3600 1\""));
    test_remove(server.data);
    test_redis_do(&server, "SAVE");
    assert_true(test_redis_do(&server, "BGSAVE"));
    while (strncmp(out, "MISCONF", 7) != 0)
        assert_true(test_redis_ask(&server, out, sizeof(out), "PING"));
    open_ready(&p, (struct redis_options){0});
    redis_sendv(p.redis, probe_reply, &p, "SET", "a", "b", NULL);
    assert_true(probe_wait(&p, &p.replies, 1));
    assert_memory_equal(p.reply, "MISCONF", 7);
    redis_sendv(p.redis, probe_reply, &p, "GET", "a", NULL);
    assert_true(probe_wait(&p, &p.replies, 2));
    assert_int_equal(p.down, 0);
    probe_close(&p);
    mkdir(server.data, 0700);
}

static void test_maxclients(void **state)
{
    struct probe p;
    char answer[5];
    int mine;

    (void)state;
    mine = test_redis_connect(&server);
    assert_int_equal(write(mine, "CONFIG SET maxclients 1\r\n", 25), 25);
    assert_int_equal(read(mine, answer, sizeof(answer)), sizeof(answer));
    assert_memory_equal(answer, "+OK\r\n", sizeof(answer));
    open_server(&p, (struct redis_options){.backoff_ms = 50, .name = "n"}, NULL);
    while (!strstr(p.why, "max number of clients"))
        assert_true(probe_wait(&p, &p.down, p.down + 1));
    close(mine);
    assert_true(probe_wait(&p, &p.ready, 1));
    probe_close(&p);
}

static void test_no_script(void **state)
{
    struct probe p;
    struct redis_reply wrong = {.type = REDIS_FAILURE, .str = "NOSCRIPTS x", .len = 11};
    struct redis_reply text = {.type = REDIS_STATUS, .str = "NOSCRIPT x", .len = 10};

    (void)state;
    assert_false(redis_is_error(NULL, "NOSCRIPT"));
    assert_false(redis_is_error(&wrong, "NOSCRIPT"));
    assert_false(redis_is_error(&text, "NOSCRIPT"));
    open_ready(&p, (struct redis_options){0});
    redis_sendv(p.redis, probe_reply, &p, "EVALSHA",
                "0000000000000000000000000000000000000000", "0", NULL);
    assert_true(probe_wait(&p, &p.replies, 1));
    assert_memory_equal(p.reply, "NOSCRIPT ", 9);
    probe_close(&p);
}

/* --- owners who act inside their callbacks --- */

static void reply_then_send(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct probe *p = arg;

    probe_reply(r, reply, arg);
    if (reply && p->replies < 100)
        assert_true(redis_sendv(r, reply_then_send, arg, "PING", NULL));
}

static void reply_then_drop(struct redis *r, const struct redis_reply *reply, void *arg)
{
    probe_reply(r, reply, arg);
    if (!reply)
        return;
    redis_drop(r, "enough");
    assert_int_equal(redis_state(r), REDIS_WAITING);
    assert_false(redis_sendv(r, probe_reply, arg, "PING", NULL));
    assert_string_equal(reply->str, "PONG"); /* still ours */
}

static void reply_then_free(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct probe *p = arg;

    probe_reply(r, reply, arg);
    if (!reply)
        return;
    redis_free(r);
    p->redis = NULL;
    assert_string_equal(reply->str, "PONG");
    assert_int_equal(p->nulls, 2); /* the others heard of it before redis_free returned */
}

static void test_send_inside(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct redis_options){0});
    redis_sendv(p.redis, reply_then_send, &p, "PING", NULL);
    assert_true(probe_wait(&p, &p.replies, 100));
    probe_close(&p);
}

static void test_drop_inside(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct redis_options){.backoff_ms = 50});
    redis_sendv(p.redis, reply_then_drop, &p, "PING", NULL);
    redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
    redis_sendv(p.redis, reply_then_drop, &p, "PING", NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_string_equal(p.why, "enough");
    assert_int_equal(p.replies, 1);
    assert_int_equal(p.nulls, 2);
    assert_true(probe_wait(&p, &p.ready, 2));
    probe_close(&p);
}

static void test_drop_outside(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct redis_options){.backoff_ms = 50});
    redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
    redis_drop(p.redis, "a watchdog says so");
    redis_drop(p.redis, "twice");
    assert_int_equal(p.down, 0); /* not from inside the call */
    assert_int_equal(p.nulls, 0);
    assert_int_equal(redis_state(p.redis), REDIS_WAITING);
    assert_true(probe_wait(&p, &p.ready, 2));
    assert_int_equal(p.down, 1);
    assert_int_equal(p.nulls, 1);
    assert_string_equal(p.why, "a watchdog says so");
    probe_close(&p);
}

static void test_free_inside(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct redis_options){0});
    redis_sendv(p.redis, reply_then_free, &p, "PING", NULL);
    redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
    redis_sendv(p.redis, reply_then_free, &p, "PING", NULL);
    assert_true(probe_wait(&p, &p.replies, 1));
    assert_int_equal(p.nulls, 2);
    assert_null(p.redis);
    probe_close(&p);
    assert_int_equal(p.down, 0);
}

static void test_free_early(void **state)
{
    struct probe p;

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        open_server(&p, (struct redis_options){.name = "n"}, NULL);
        test_turns(p.loop, turns);
        if (turns > 8 && redis_state(p.redis) == REDIS_READY)
            redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
        probe_close(&p);
    }
    probe_open(&p, "redis://no.such.name.invalid", (struct redis_options){0}, NULL);
    test_deaf_name_server(p.loop);
    test_turns(p.loop, 3); /* asks the name servers */
    probe_close(&p);
}

static void free_on_ready(struct redis *r, void *arg)
{
    probe_on_ready(r, arg);
    redis_free(r);
    ((struct probe *)arg)->redis = NULL;
}

static void free_on_down(struct redis *r, const char *why, void *arg)
{
    probe_on_down(r, why, arg);
    redis_free(r);
    ((struct probe *)arg)->redis = NULL;
}

static void null_then_free(struct redis *r, const struct redis_reply *reply, void *arg)
{
    probe_reply(r, reply, arg);
    redis_free(r);
    ((struct probe *)arg)->redis = NULL;
}

static void test_free_in_news(void **state)
{
    const struct redis_events on_ready = {.on_ready = free_on_ready};
    const struct redis_events on_down = {.on_ready = probe_on_ready,
                                         .on_down = free_on_down};
    struct probe p;

    (void)state;
    open_server(&p, (struct redis_options){0}, &on_ready);
    assert_true(probe_wait(&p, &p.ready, 1));
    probe_close(&p);
    open_server(&p, (struct redis_options){0}, &on_down);
    assert_true(probe_wait(&p, &p.ready, 1));
    redis_drop(p.redis, "x");
    assert_true(probe_wait(&p, &p.down, 1));
    probe_close(&p);
    open_ready(&p, (struct redis_options){0});
    redis_sendv(p.redis, null_then_free, &p, "PING", NULL);
    redis_sendv(p.redis, null_then_free, &p, "PING", NULL);
    redis_drop(p.redis, "x");
    assert_true(probe_wait(&p, &p.nulls, 2));
    assert_int_equal(p.down, 0);
    probe_close(&p);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_restart),
        WITH_SERVER(test_hang),
        WITH_SERVER(test_busy_is_not_silent),
        WITH_SERVER(test_client_kill),
        WITH_SERVER(test_loading),
        WITH_SERVER(test_masterdown),
        WITH_SERVER(test_misconf),
        WITH_SERVER(test_maxclients),
        WITH_SERVER(test_no_script),
        WITH_SERVER(test_send_inside),
        WITH_SERVER(test_drop_inside),
        WITH_SERVER(test_drop_outside),
        WITH_SERVER(test_free_inside),
        WITH_SERVER(test_free_early),
        WITH_SERVER(test_free_in_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
