/* A subscriber against a real redis-server. */
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

static void open_subscriber(struct probe *p, const char *userinfo,
                            const struct redis_events *events)
{
    char url[128];

    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d", userinfo, server.port);
    probe_open(p, url, (struct redis_options){.subscriber = true, .backoff_ms = 100},
               events);
    assert_true(probe_wait(p, &p->ready, 1));
}

static void test_messages(void **state)
{
    struct probe p;
    char out[64];

    (void)state;
    open_subscriber(&p, "", NULL);
    assert_false(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
    assert_true(redis_subscribe(p.redis, "thread:a", 8));
    assert_true(redis_subscribe(p.redis, "thread:b", 8));
    assert_int_equal(redis_queued(p.redis), 2);
    assert_true(probe_wait(&p, &p.subscribed, 2));
    assert_string_equal(p.channel, "thread:b");
    assert_int_equal(redis_queued(p.redis), 0);
    assert_true(test_redis_do(&server, "PUBLISH thread:a one"));
    assert_true(probe_wait(&p, &p.messages, 1));
    assert_string_equal(p.channel, "thread:a");
    assert_string_equal(p.data, "one");
    assert_true(redis_unsubscribe(p.redis, "thread:a", 8));
    assert_true(redis_unsubscribe(p.redis, "never", 5));
    assert_true(redis_subscribe(p.redis, "thread:c", 8));
    assert_true(probe_wait(&p, &p.subscribed, 3));
    assert_true(test_redis_ask(&server, out, sizeof(out), "PUBLISH thread:a two"));
    assert_string_equal(out, "0");
    assert_true(test_redis_do(&server, "PUBLISH thread:c three"));
    assert_true(probe_wait(&p, &p.messages, 2));
    assert_string_equal(p.data, "three");
    assert_true(p.batches >= 2 && p.batches <= 2);
    assert_int_equal(redis_counters(p.redis)->messages, 2);
    probe_close(&p);
    assert_int_equal(p.down, 0);
}

/* Twenty thousand in one script: all of them, in order, few batches, bounded turns. */
static void test_flood(void **state)
{
    struct probe p;

    (void)state;
    open_subscriber(&p, "", NULL);
    assert_true(redis_subscribe(p.redis, "f", 1));
    assert_true(probe_wait(&p, &p.subscribed, 1));
    assert_true(test_redis_do(&server, "EVAL \"for i=1,20000 do redis.call('PUBLISH','f',"
                                       "string.rep('x',200)..i) end\" 0"));
    assert_true(probe_wait(&p, &p.messages, 20000));
    assert_string_equal(p.data + 200, "20000");
    assert_in_range(p.batches, 4, 2000); /* never more than 1 MiB a turn */
    probe_close(&p);
}

static void test_kill(void **state)
{
    struct probe p;

    (void)state;
    open_subscriber(&p, "", NULL);
    for (int i = 1; i <= 5; i++) {
        assert_true(redis_subscribe(p.redis, "x", 1));
        assert_true(probe_wait(&p, &p.subscribed, i));
        assert_true(test_redis_do(&server, "CLIENT KILL TYPE pubsub"));
        assert_true(probe_wait(&p, &p.ready, i + 1));
    }
    assert_int_equal(redis_reconnects(p.redis), 5);
    probe_close(&p);
}

/* Redis cuts a subscriber that does not read; we come back. */
static void test_output_limit(void **state)
{
    struct probe p;

    (void)state;
    open_subscriber(&p, "", NULL);
    assert_true(test_redis_do(
        &server, "CONFIG SET client-output-buffer-limit \"pubsub 100000 0 0\""));
    assert_true(redis_subscribe(p.redis, "f", 1));
    assert_true(probe_wait(&p, &p.subscribed, 1));
    assert_true(test_redis_do(&server, "EVAL \"for i=1,60 do redis.call('PUBLISH','f',"
                                       "string.rep('x',262144)) end\" 0"));
    assert_true(probe_wait(&p, &p.ready, 2));
    assert_true(p.messages < 60);
    probe_close(&p);
}

static void test_silent(void **state)
{
    struct probe p;
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.port);
    probe_open(&p, url, (struct redis_options){.subscriber = true, .reply_ms = 200},
               NULL);
    assert_true(probe_wait(&p, &p.ready, 1));
    kill(server.pid, SIGSTOP);
    assert_true(redis_subscribe(p.redis, "x", 1));
    assert_true(probe_wait(&p, &p.down, 1));
    assert_string_equal(p.why, "no reply for 200 ms");
    kill(server.pid, SIGCONT);
    probe_close(&p);
}

static void test_refused(void **state)
{
    struct redis_events events = probe_events;
    struct probe p;

    (void)state;
    assert_true(test_redis_do(&server, "ACL SETUSER ann on >pw +@all &ok*"));
    open_subscriber(&p, "ann:pw@", NULL);
    redis_subscribe(p.redis, "ok1", 3);
    redis_subscribe(p.redis, "secret", 6);
    redis_subscribe(p.redis, "ok2", 3);
    assert_true(probe_wait(&p, &p.subscribed, 2));
    assert_int_equal(p.refused, 1);
    assert_memory_equal(p.why, "NOPERM ", 7);
    assert_int_equal(p.down, 0);
    probe_close(&p);
    events.on_refused = NULL;
    open_subscriber(&p, "ann:pw@", &events);
    redis_subscribe(p.redis, "secret", 6);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_memory_equal(p.why, "SUBSCRIBE: NOPERM ", 18);
    probe_close(&p);
}

static void message_then_free(struct redis *r, const char *channel, size_t channel_len,
                              const char *data, size_t len, void *arg)
{
    probe_on_message(r, channel, channel_len, data, len, arg);
    redis_free(r);
    ((struct probe *)arg)->redis = NULL;
    assert_memory_equal(channel, "f", 1); /* still ours */
}

static void message_then_drop(struct redis *r, const char *channel, size_t channel_len,
                              const char *data, size_t len, void *arg)
{
    probe_on_message(r, channel, channel_len, data, len, arg);
    redis_drop(r, "seen enough");
    assert_false(redis_subscribe(r, "g", 1));
}

static void act_inside(void (*act)(struct redis *, const char *, size_t, const char *,
                                   size_t, void *),
                       bool comes_back)
{
    struct redis_events events = probe_events;
    struct probe p;

    events.on_message = act;
    open_subscriber(&p, "", &events);
    redis_subscribe(p.redis, "f", 1);
    assert_true(probe_wait(&p, &p.subscribed, 1));
    assert_true(test_redis_do(&server,
                              "EVAL \"for i=1,100 do redis.call('PUBLISH','f',i) "
                              "end\" 0"));
    assert_true(probe_wait(&p, &p.messages, 1));
    test_turns(p.loop, 5);
    assert_int_equal(p.messages, 1);
    if (comes_back)
        assert_true(probe_wait(&p, &p.ready, 2));
    probe_close(&p);
}

static void test_act_inside(void **state)
{
    (void)state;
    act_inside(message_then_free, false);
    act_inside(message_then_drop, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages), cmocka_unit_test(test_flood),
        cmocka_unit_test(test_kill),     cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_act_inside),
        cmocka_unit_test(test_silent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
