/* rediss:// against a real redis-server with a certificate authority of the test's own.
 */
#include "common/redis.h"

#include "test_redis_probe.h"
#include "test_redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct test_redis server, wrong; /* `wrong` has a certificate for another name */
static char dir[] = "/tmp/threadcast-tls-XXXXXX";
static char ca[64], other_ca[64];
static char paths[4][64], ports[2][8];
static int tls_ports[2];

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
    char command[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    if (system(command) != 0)
        test_die(command, NULL);
}

static void make_authority(const char *name)
{
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=%s -keyout %s/%s.key -out %s/%s.pem 2>/dev/null",
        name, dir, name, dir, name);
}

static void make_certificate(const char *name, const char *subjects)
{
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x "
        "-keyout %s/%s.key -out %s/%s.csr 2>/dev/null && "
        "printf 'subjectAltName=%s' > %s/ext && "
        "openssl x509 -req -days 2 -in %s/%s.csr -CA %s/ca.pem -CAkey %s/ca.key "
        "-CAcreateserial -extfile %s/ext -out %s/%s.pem 2>/dev/null",
        dir, name, dir, name, subjects, dir, dir, name, dir, dir, dir, dir, name);
}

static void start(struct test_redis *s, int i, const char *name)
{
    tls_ports[i] = test_free_port();
    snprintf(ports[i], sizeof(ports[i]), "%d", tls_ports[i]);
    snprintf(paths[2 * i], sizeof(paths[0]), "%s/%s.pem", dir, name);
    snprintf(paths[2 * i + 1], sizeof(paths[0]), "%s/%s.key", dir, name);
    const char *extra[] = {"--tls-port",
                           ports[i],
                           "--tls-cert-file",
                           paths[2 * i],
                           "--tls-key-file",
                           paths[2 * i + 1],
                           "--tls-ca-cert-file",
                           ca,
                           "--tls-auth-clients",
                           "no",
                           NULL};
    test_redis_start(s, extra);
}

static int group_start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(dir))
        return 1;
    snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
    snprintf(other_ca, sizeof(other_ca), "%s/other.pem", dir);
    make_authority("ca");
    make_authority("other");
    make_certificate("good", "DNS:localhost,IP:127.0.0.1");
    make_certificate("wrong", "DNS:elsewhere.test");
    start(&server, 0, "good");
    start(&wrong, 1, "wrong");
    return 0;
}

static int group_stop(void **state)
{
    (void)state;
    test_redis_stop(&server);
    test_redis_stop(&wrong);
    test_remove(dir);
    return 0;
}

static void open_tls(struct probe *p, const char *host, int port, const char *ca_file)
{
    char url[64];

    snprintf(url, sizeof(url), "rediss://%s:%d", host, port);
    probe_open(p, url,
               (struct redis_options){
                   .tls_ca_file = ca_file, .connect_ms = 2000, .backoff_ms = 100},
               NULL);
}

static void test_good(void **state)
{
    const char *const hosts[] = {"localhost", "127.0.0.1"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct probe p;
        open_tls(&p, hosts[i], tls_ports[0], ca);
        assert_true(probe_wait(&p, &p.ready, 1));
        assert_true(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
        assert_true(probe_wait(&p, &p.replies, 1));
        assert_string_equal(p.reply, "PONG");
        probe_close(&p);
    }
}

static void test_large(void **state)
{
    struct probe p;
    size_t size = 3 << 20;
    char *value = malloc(size);
    const char *argv[] = {"SET", "large", value};
    const size_t lens[] = {3, 5, size};

    (void)state;
    memset(value, 'x', size);
    open_tls(&p, "localhost", tls_ports[0], ca);
    assert_true(probe_wait(&p, &p.ready, 1));
    assert_true(redis_send(p.redis, probe_reply, &p, 3, argv, lens));
    for (int i = 0; i < 3; i++)
        assert_true(redis_sendv(p.redis, probe_reply, &p, "GET", "large", NULL));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "STRLEN", "large", NULL));
    assert_true(probe_wait(&p, &p.replies, 5));
    assert_int_equal(atoi(p.reply), size);
    probe_close(&p);
    free(value);
}

static void test_restart(void **state)
{
    struct probe p;

    (void)state;
    open_tls(&p, "localhost", tls_ports[0], ca);
    assert_true(probe_wait(&p, &p.ready, 1));
    redis_sendv(p.redis, probe_reply, &p, "DEBUG", "SLEEP", "3", NULL);
    test_turns(p.loop, 2);
    test_redis_kill(&server);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_int_equal(p.nulls, 1);
    test_redis_run(&server, true);
    assert_true(probe_wait(&p, &p.ready, 2));
    probe_close(&p);
}

static void refused(const char *host, int port, const char *ca_file, const char *why)
{
    struct probe p;

    open_tls(&p, host, port, ca_file);
    assert_true(probe_wait(&p, &p.down, 2));
    print_message("%s\n", p.why);
    assert_memory_equal(p.why, why, strlen(why));
    assert_int_equal(p.ready, 0);
    probe_close(&p);
}

static void test_refused(void **state)
{
    (void)state;
    refused("localhost", tls_ports[0], other_ca, "tls: "); /* not our authority */
    refused("localhost", tls_ports[0], NULL, "tls: ");     /* not the system's */
    refused("localhost", tls_ports[1], ca, "tls: hostname mismatch");
    refused("127.0.0.1", tls_ports[1], ca, "tls: IP address mismatch");
    refused("localhost", tls_ports[0], "/nowhere.pem",
            "tls: the CA certificates cannot be loaded from /nowhere.pem");
    refused("localhost", server.port, ca, "tls: "); /* speaks no TLS */
}

/* A plain client at the TLS port gets no word; it must end in time. */
static void test_plain(void **state)
{
    struct probe p;
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", tls_ports[0]);
    probe_open(&p, url, (struct redis_options){.connect_ms = 500}, NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_int_equal(p.ready, 0);
    probe_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_large),
        cmocka_unit_test(test_restart), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
