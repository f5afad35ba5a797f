/* One connection against a real redis-server: commands, identity, databases, limits. */
#include "common/redis.h"

#include "test_redis_probe.h"
#include "test_redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct test_redis server; /* without a password, shared by the tests */

static int group_start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    test_redis_start(&server, NULL);
    return 0;
}

static int group_stop(void **state)
{
    (void)state;
    test_redis_stop(&server);
    return 0;
}

static const char *tcp_url(const struct test_redis *s, const char *user, const char *tail)
{
    static char url[256];

    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d%s", user, s->port, tail);
    return url;
}

static void open_ready(struct probe *p, struct redis_options o)
{
    probe_open(p, tcp_url(&server, "", ""), o, NULL);
    assert_true(probe_wait(p, &p->ready, 1));
}

static void test_ready(void **state)
{
    struct probe p;
    char out[8192];

    (void)state;
    probe_open(&p, tcp_url(&server, "", ""), (struct redis_options){.name = "a:b:c"},
               NULL);
    assert_int_equal(redis_state(p.redis), REDIS_WAITING);
    assert_string_equal(redis_run_id(p.redis), "");
    assert_false(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
    assert_true(probe_wait(&p, &p.ready, 1));
    assert_int_equal(redis_state(p.redis), REDIS_READY);
    assert_int_equal(strlen(redis_run_id(p.redis)), 40);
    assert_true(test_redis_ask(&server, out, sizeof(out), "INFO server"));
    assert_non_null(strstr(out, redis_run_id(p.redis)));
    assert_non_null(strstr(out, redis_version(p.redis)));
    assert_true(test_redis_ask(&server, out, sizeof(out), "CLIENT LIST"));
    assert_non_null(strstr(out, " name=a:b:c "));
    assert_int_equal(redis_reconnects(p.redis), 0);
    probe_close(&p);
    assert_int_equal(p.down, 0);
}

static void test_binary(void **state)
{
    struct probe p;
    const char value[] = "a\0b\r\n$5\r\n\xff";
    const char *argv[] = {"SET", "bin", value};
    const size_t lens[] = {3, 3, sizeof(value)};

    (void)state;
    open_ready(&p, (struct redis_options){0});
    assert_true(redis_send(p.redis, probe_reply, &p, 3, argv, lens));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "STRLEN", "bin", NULL));
    assert_true(probe_wait(&p, &p.replies, 2));
    assert_int_equal(atoi(p.reply), sizeof(value));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "GET", "nothing", NULL));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "GET", "bin", "more", NULL));
    assert_true(probe_wait(&p, &p.replies, 4));
    assert_non_null(strstr(p.reply, "ERR wrong number of arguments"));
    probe_close(&p);
}

struct order {
    int next;
    bool wrong;
};

static void on_order(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct order *o = arg;

    (void)r;
    if (!reply || reply->type != REDIS_STRING || atoi(reply->str) != o->next++)
        o->wrong = true;
}

static void test_order(void **state)
{
    struct order o = {0};
    struct probe p;
    char text[16];

    (void)state;
    open_ready(&p, (struct redis_options){0});
    for (int i = 0; i < 9000; i++) {
        snprintf(text, sizeof(text), "%d", i);
        assert_true(redis_sendv(p.redis, on_order, &o, "ECHO", text, NULL));
    }
    assert_int_equal(redis_queued(p.redis), 9000);
    assert_true(probe_wait(&p, &o.next, 9000));
    assert_false(o.wrong);
    assert_int_equal(redis_queued(p.redis), 0);
    probe_close(&p);
}

static void test_large(void **state)
{
    struct probe p;
    size_t size = 8 << 20;
    char *value = malloc(size);
    const char *argv[] = {"SET", "large", value};
    const size_t lens[] = {3, 5, size};

    (void)state;
    memset(value, 'x', size);
    open_ready(&p, (struct redis_options){0});
    assert_true(redis_send(p.redis, probe_reply, &p, 3, argv, lens));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "GET", "large", NULL));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "STRLEN", "large", NULL));
    assert_true(probe_wait(&p, &p.replies, 3));
    assert_int_equal(atoi(p.reply), size);
    assert_true(redis_sendv(p.redis, probe_reply, &p, "DEL", "large", NULL));
    assert_true(probe_wait(&p, &p.replies, 4));
    probe_close(&p);
    free(value);
}

static void test_limits(void **state)
{
    struct probe p;
    char text[200];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    open_ready(&p, (struct redis_options){.queue_max = 10, .output_max = 1300});
    for (int i = 0; i < 10; i++)
        assert_true(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
    assert_false(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
    assert_int_equal(redis_counters(p.redis)->refused, 1);
    assert_true(probe_wait(&p, &p.replies, 10));
    for (int i = 0; i < 5; i++)
        assert_true(redis_sendv(p.redis, probe_reply, &p, "ECHO", text, NULL));
    assert_false(redis_sendv(p.redis, probe_reply, &p, "ECHO", text, NULL));
    assert_int_equal(redis_counters(p.redis)->refused, 2);
    assert_true(probe_wait(&p, &p.replies, 15));
    assert_string_equal(p.reply, text);
    assert_false(redis_subscribe(p.redis, "c", 1)); /* not a subscriber */
    probe_close(&p);
    assert_int_equal(p.replies, 15);
    assert_int_equal(p.nulls, 0);
}

static void test_database(void **state)
{
    struct probe p;
    char out[64];

    (void)state;
    probe_open(&p, tcp_url(&server, "", "/3"), (struct redis_options){0}, NULL);
    assert_true(probe_wait(&p, &p.ready, 1));
    redis_sendv(p.redis, probe_reply, &p, "SET", "where", "three", NULL);
    assert_true(probe_wait(&p, &p.replies, 1));
    probe_close(&p);
    assert_true(test_redis_ask(&server, out, sizeof(out), "EXISTS where"));
    assert_string_equal(out, "0");
    probe_open(&p, tcp_url(&server, "", "/99"), (struct redis_options){0}, NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_string_equal(p.why, "SELECT: ERR DB index is out of range");
    probe_close(&p);
}

static void test_unix(void **state)
{
    struct probe p;
    char url[200];

    (void)state;
    snprintf(url, sizeof(url), "unix://%s?db=3", server.socket);
    probe_open(&p, url, (struct redis_options){0}, NULL);
    assert_true(probe_wait(&p, &p.ready, 1));
    redis_sendv(p.redis, probe_reply, &p, "GET", "where", NULL);
    assert_true(probe_wait(&p, &p.replies, 1));
    assert_string_equal(p.reply, "three");
    probe_close(&p);
    probe_open(&p, "unix:///nowhere/s", (struct redis_options){0}, NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_string_equal(p.why, "connect /nowhere/s: No such file or directory");
    probe_close(&p);
}

static void test_name(void **state)
{
    struct probe p;
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "redis://localhost:%d", server.port);
    probe_open(&p, url, (struct redis_options){0}, NULL);
    assert_true(probe_wait(&p, &p.ready, 1));
    probe_close(&p);
}

static void test_refused(void **state)
{
    struct probe p;
    char url[64], why[128];
    int port = test_free_port();

    (void)state;
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", port);
    probe_open(&p, url, (struct redis_options){.backoff_ms = 100}, NULL);
    assert_true(probe_wait(&p, &p.down, 3));
    snprintf(why, sizeof(why), "connect 127.0.0.1:%d: Connection refused", port);
    assert_string_equal(p.why, why);
    assert_int_equal(redis_counters(p.redis)->failed, 3);
    probe_close(&p);
}

static const struct {
    const char *userinfo, *why; /* NULL: gets ready */
} identities[] = {
    {"", "CLIENT SETNAME: NOAUTH"},
    {":wrong@", "AUTH: WRONGPASS"},
    {":s%65cret@", NULL},
    {"default:secret@", NULL},
    {"ann:pw@", NULL},
    {"ann:no@", "AUTH: WRONGPASS"},
    {"bob:pw@", "CLIENT SETNAME: NOPERM"},
};

static void test_identity(void **state)
{
    const char *extra[] = {"--requirepass", "secret", NULL};
    struct test_redis own;

    (void)state;
    test_redis_start(&own, extra);
    assert_true(test_redis_do(&own, "ACL SETUSER ann on >pw ~* &* +@all"));
    assert_true(test_redis_do(&own, "ACL SETUSER bob on >pw ~* &* +@all -client"));
    for (size_t i = 0; i < sizeof(identities) / sizeof(*identities); i++) {
        struct probe p;
        probe_open(&p, tcp_url(&own, identities[i].userinfo, ""),
                   (struct redis_options){.name = "n"}, NULL);
        if (!identities[i].why) {
            assert_true(probe_wait(&p, &p.ready, 1));
            redis_sendv(p.redis, probe_reply, &p, "ACL", "WHOAMI", NULL);
            assert_true(probe_wait(&p, &p.replies, 1));
            assert_string_equal(
                p.reply, strncmp(identities[i].userinfo, "ann", 3) ? "default" : "ann");
        } else {
            assert_true(probe_wait(&p, &p.down, 2)); /* tried again */
            assert_memory_equal(p.why, identities[i].why, strlen(identities[i].why));
            assert_int_equal(p.ready, 0);
        }
        probe_close(&p);
    }
    test_redis_stop(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),   cmocka_unit_test(test_binary),
        cmocka_unit_test(test_order),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_database),
        cmocka_unit_test(test_unix),    cmocka_unit_test(test_name),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_identity),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
