/* A pool against a real PostgreSQL, and names through a name server of the test's own. */
#include "common/pg.h"

#include "test_pg_probe.h"
#include "test_pg_server.h"

#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct test_pg server;
static char certificate[128];

static int group_start(void **state)
{
    char command[1024];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    test_pg_start(&server);
    snprintf(certificate, sizeof(certificate), "%s/server.crt", server.data);
    snprintf(
        command, sizeof(command),
        "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-days 2 -subj /CN=db.test -addext subjectAltName=DNS:db.test "
        "-keyout server.key -out server.crt 2>/dev/null && "
        "chown --reference=PG_VERSION server.key && chmod 600 server.key",
        server.data);
    if (system(command) != 0 || !test_pg_do(&server, "ALTER SYSTEM SET ssl = on") ||
        !test_pg_do(&server, "SELECT pg_reload_conf()"))
        test_pg_die(&server, "no TLS");
    return 0;
}

static int group_stop(void **state)
{
    (void)state;
    test_pg_stop(&server);
    return 0;
}

struct news {
    struct loop *loop;
    int up, down;
    char why[400];
};

static void on_change(bool ready, const char *why, void *arg)
{
    struct news *n = arg;

    n->up += ready;
    n->down += !ready;
    if (!ready)
        snprintf(n->why, sizeof(n->why), "%s", why);
}

static bool is_up(void *arg)
{
    return ((struct news *)arg)->up > 0;
}

static bool is_down(void *arg)
{
    return ((struct news *)arg)->down > 0;
}

static bool is_up_again(void *arg)
{
    return ((struct news *)arg)->up > 1;
}

static bool all_ready(void *arg)
{
    struct pg_counters c;

    pg_pool_counters(arg, &c);
    return c.ready == 3;
}

static void test_pool(void **state)
{
    const struct pg_options o = {.url = server.url, .name = "pool", .backoff_ms = 100};
    struct news n = {.loop = loop_new()};
    struct pg_pool *pool = pg_pool_new(n.loop, &o, 3);
    struct probe p = {.loop = n.loop};
    struct pg_counters c;
    int64_t start_ms;
    char out[16];

    (void)state;
    pg_pool_on_change(pool, on_change, &n);
    assert_false(pg_pool_ready(pool));
    assert_true(test_wait(n.loop, is_up, &n, 10000));
    assert_true(pg_pool_ready(pool));
    assert_true(test_wait(n.loop, all_ready, pool, 10000));
    assert_true(test_pg_ask(&server, out, sizeof(out),
                            "SELECT count(*) FROM pg_stat_activity WHERE "
                            "application_name = 'pool'"));
    assert_string_equal(out, "3");

    start_ms = clock_ms(); /* three sleeps side by side, three more behind them */
    for (int i = 0; i < 6; i++)
        assert_true(pg_pool_query(pool, "SELECT pg_sleep(0.3)", 0, NULL, 10000,
                                  probe_result, &p));
    assert_true(probe_wait(&p, &p.ok, 6));
    assert_in_range(clock_ms() - start_ms, 600, 1200);

    test_pg_kill(&server);
    assert_true(test_wait(n.loop, is_down, &n, 10000));
    assert_false(pg_pool_ready(pool));
    assert_true(pg_pool_query(pool, "SELECT 7", 0, NULL, 20000, probe_result, &p));
    test_pg_run(&server);
    assert_true(test_wait(n.loop, is_up_again, &n, 10000));
    assert_true(probe_wait(&p, &p.ok, 7));
    assert_string_equal(p.value, "7");
    assert_int_equal(n.up, 2);
    pg_pool_counters(pool, &c);
    assert_int_equal(c.lost, 3);
    assert_int_equal(c.statements, 7);
    assert_true(pg_pool_query(pool, "SELECT 8", 0, NULL, 20000, probe_result, &p));
    pg_pool_free(pool);
    assert_int_equal(p.unsent, 1);
    loop_free(n.loop);
}

/* One reason is told once however often it is met. */
static void test_why(void **state)
{
    char url[200];
    struct news n = {.loop = loop_new()};
    struct pg_options o = {.url = url, .backoff_ms = 20};
    struct pg_counters c = {0};
    struct pg_pool *pool;

    (void)state;
    snprintf(url, sizeof(url), "postgres://127.0.0.1:%d/x", test_pg_port());
    pool = pg_pool_new(n.loop, &o, 2);
    pg_pool_on_change(pool, on_change, &n);
    while (c.failed < 10) {
        event_base_loop(loop_base(n.loop), EVLOOP_ONCE);
        pg_pool_counters(pool, &c);
    }
    assert_int_equal(n.down, 1);
    assert_non_null(strstr(n.why, "Connection refused"));
    pg_pool_free(pool);
    loop_free(n.loop);
}

static void on_question(struct evdns_server_request *q, void *arg)
{
    uint32_t addresses[] = {htonl(INADDR_LOOPBACK + 1), htonl(INADDR_LOOPBACK)};
    int error = 0;

    (void)arg;
    for (int i = 0; i < q->nquestions; i++) {
        const char *name = q->questions[i]->name;
        if (strcmp(name, "db.test") != 0 && strcmp(name, "alias.test") != 0)
            error = DNS_ERR_NOTEXIST;
        else if (q->questions[i]->type == EVDNS_TYPE_A)
            evdns_server_request_add_a_reply(q, name, 2, addresses, 10);
    }
    evdns_server_request_respond(q, error);
}

static struct evdns_server_port *name_server(struct loop *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct evdns_base *dns = loop_dns(l);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    evdns_base_clear_nameservers_and_suspend(dns);
    evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&a, sizeof(a), 0);
    evdns_base_set_option(dns, "randomize-case:", "0");
    evdns_base_resume(dns);
    return evdns_add_server_port_with_base(loop_base(l), fd, 0, on_question, NULL);
}

/* libpq never sees the name alone: it would ask the machine's own resolver. */
static void with_name(const char *hosts, const char *query, const char *why)
{
    struct evdns_server_port *names;
    struct probe p = {.loop = loop_new()};
    struct pg_options o = {.backoff_ms = 100};
    char url[400];

    names = name_server(p.loop);
    snprintf(url, sizeof(url), "postgres://postgres@%s/postgres%s", hosts, query);
    o.url = url;
    p.pg = pg_new(p.loop, &o, &probe_events, &p);
    if (why) {
        assert_true(probe_wait(&p, &p.down, 2));
        print_message("%s\n", p.why);
        assert_non_null(strstr(p.why, why));
    } else {
        assert_true(probe_wait(&p, &p.ready, 1));
        assert_true(probe_ask(&p, "SELECT 1", 0, NULL));
    }
    pg_free(p.pg);
    p.pg = NULL;
    test_turns(p.loop, 5);
    evdns_close_server_port(names);
    test_turns(p.loop, 2);
    loop_free(p.loop);
}

static void test_names(void **state)
{
    char hosts[100];

    (void)state;
    snprintf(hosts, sizeof(hosts), "db.test:%d", server.port);
    with_name(hosts, "", NULL); /* 127.0.0.2 refuses, 127.0.0.1 does not */
    snprintf(hosts, sizeof(hosts), "none.test:1,db.test:%d", server.port);
    with_name(hosts, "", NULL);
    with_name("none.test", "", "resolve none.test: ");
    with_name("none.test,other.test", "", "resolve: none of the hosts is found");
}

/* The name is looked up by us and still the one the certificate must hold. */
static void test_tls(void **state)
{
    char hosts[100], query[200];

    (void)state;
    snprintf(query, sizeof(query), "?sslmode=verify-full&sslrootcert=%s", certificate);
    snprintf(hosts, sizeof(hosts), "db.test:%d", server.port);
    with_name(hosts, query, NULL);
    snprintf(hosts, sizeof(hosts), "alias.test:%d", server.port);
    with_name(hosts, query,
              "server certificate for \"db.test\" does not match host name "
              "\"alias.test\"");
    with_name(hosts, "?sslmode=require", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
