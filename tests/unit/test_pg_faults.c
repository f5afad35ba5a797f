/* One connection against a real PostgreSQL: statements, errors, LISTEN, limits, faults.
 */
#include "common/pg.h"

#include "test_pg_probe.h"
#include "test_pg_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct test_pg server;

static int group_start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    test_pg_start(&server);
    return 0;
}

static int group_stop(void **state)
{
    (void)state;
    test_pg_stop(&server);
    return 0;
}

static void open_ready(struct probe *p, struct pg_options o)
{
    probe_open(p, server.url, o, NULL);
    assert_true(probe_wait(p, &p->ready, 1));
}

static void test_deadline(void **state)
{
    char running[64];
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){.backoff_ms = 100, .name = "deadline"});
    assert_true(pg_query(p.pg, "SELECT pg_sleep(60)", 0, NULL, 200, probe_result, &p));
    assert_true(pg_query(p.pg, "SELECT 1", 0, NULL, 100, probe_result, &p));
    assert_true(pg_query(p.pg, "SELECT 2", 0, NULL, 10000, probe_result, &p));
    assert_true(probe_wait(&p, &p.unsent, 1)); /* behind the first, its own time is up */
    assert_int_equal(p.down, 0);
    assert_true(probe_wait(&p, &p.lost, 1));
    assert_string_equal(p.message, "a statement passed its deadline");
    assert_true(probe_wait(&p, &p.ok, 1)); /* on the next connection */
    assert_string_equal(p.value, "2");
    assert_int_equal(p.ready, 2);
    assert_int_equal(pg_counters(p.pg)->expired, 2);
    probe_close(&p);
    do /* the server gives it up too, within its check interval */
        assert_true(test_pg_ask(&server, running, sizeof(running),
                                "SELECT count(*) FROM pg_stat_activity WHERE "
                                "application_name = 'deadline' AND query ~ 'pg_sleep'"));
    while (strcmp(running, "0") != 0);
}

static void test_terminate(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){.name = "victim", .backoff_ms = 100});
    assert_true(test_pg_do(&server,
                           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE application_name = 'victim'"));
    assert_true(probe_wait(&p, &p.down, 1));
    assert_non_null(strstr(p.why, "terminating connection due to administrator command"));
    assert_true(probe_wait(&p, &p.ready, 2));
    assert_true(probe_ask(&p, "SELECT pg_terminate_backend(pg_backend_pid())", 0, NULL));
    assert_int_equal(p.lost, 1);
    assert_string_equal(p.sqlstate, "57P01");
    assert_true(probe_wait(&p, &p.ready, 3));
    assert_true(probe_ask(&p, "SELECT 1", 0, NULL));
    assert_int_equal(p.ok, 1);
    probe_close(&p);
}

static void test_restart(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){.backoff_ms = 100});
    assert_true(pg_query(p.pg, "SELECT pg_sleep(60)", 0, NULL, 60000, probe_result, &p));
    test_turns(p.loop, 2);
    assert_true(pg_query(p.pg, "SELECT 1", 0, NULL, 300, probe_result, &p));
    assert_true(pg_query(p.pg, "SELECT 2", 0, NULL, 30000, probe_result, &p));
    test_pg_kill(&server);
    assert_true(probe_wait(&p, &p.lost, 1));
    assert_true(probe_wait(&p, &p.unsent, 1)); /* waited until its deadline */
    assert_true(probe_wait(&p, &p.down, 3));
    assert_non_null(strstr(p.why, "Connection refused"));
    test_pg_run(&server);
    assert_true(probe_wait(&p, &p.ok, 1));
    assert_string_equal(p.value, "2");
    assert_int_equal(p.done, 3);
    probe_close(&p);
}

/* The server takes the connection and says nothing. */
static void test_hang(void **state)
{
    struct probe p;

    (void)state;
    kill(server.pid, SIGSTOP);
    probe_open(&p, server.url, (struct pg_options){.connect_ms = 200}, NULL);
    assert_true(probe_wait(&p, &p.down, 1));
    assert_string_equal(p.why, "no connection for 200 ms");
    kill(server.pid, SIGCONT);
    assert_true(probe_wait(&p, &p.ready, 1));
    probe_close(&p);
}

static void free_in_result(enum pg_outcome outcome, const struct pg_result *res,
                           const struct pg_error *err, void *arg)
{
    struct probe *p = arg;

    probe_result(outcome, res, err, arg);
    pg_free(p->pg);
    p->pg = NULL;
    if (outcome == PG_OK)
        assert_int_equal(pg_int(res, 0, 0), 1); /* still ours */
}

static void free_on_ready(struct pg *pg, void *arg)
{
    probe_on_ready(pg, arg);
    pg_free(pg);
    ((struct probe *)arg)->pg = NULL;
}

static void free_on_notify(struct pg *pg, const char *channel, const char *payload,
                           void *arg)
{
    probe_on_notify(pg, channel, payload, arg);
    pg_free(pg);
    ((struct probe *)arg)->pg = NULL;
}

static void test_free_inside(void **state)
{
    const struct pg_events on_ready = {.on_ready = free_on_ready};
    const struct pg_events on_notify = {.on_notify = free_on_notify};
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){0});
    assert_true(pg_query(p.pg, "SELECT 1", 0, NULL, 5000, free_in_result, &p));
    assert_true(pg_query(p.pg, "SELECT 2", 0, NULL, 5000, free_in_result, &p));
    assert_true(probe_wait(&p, &p.done, 2));
    assert_int_equal(p.unsent, 1);
    probe_close(&p);

    probe_open(&p, server.url, (struct pg_options){0}, &on_ready);
    assert_true(pg_query(p.pg, "SELECT 1", 0, NULL, 5000, probe_result, &p));
    assert_true(probe_wait(&p, &p.ready, 1));
    assert_int_equal(p.unsent, 1);
    probe_close(&p);

    probe_open(&p, server.url, (struct pg_options){.listen = "c"}, &on_notify);
    assert_true(pg_query(p.pg, "SELECT pg_notify('c', 'x') FROM generate_series(1,3)", 0,
                         NULL, 5000, probe_result, &p));
    assert_true(probe_wait(&p, &p.notified, 1));
    assert_int_equal(p.notified, 1);
    probe_close(&p);

    probe_open(&p, server.url, (struct pg_options){0}, NULL); /* two die at their end */
    assert_true(pg_query(p.pg, "SELECT 1", 0, NULL, 0, free_in_result, &p));
    assert_true(pg_query(p.pg, "SELECT 1", 0, NULL, 0, free_in_result, &p));
    assert_true(probe_wait(&p, &p.unsent, 2));
    probe_close(&p);
}

static void test_free_early(void **state)
{
    struct probe p;

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        probe_open(&p, server.url, (struct pg_options){0}, NULL);
        pg_query(p.pg, "SELECT 1", 0, NULL, 5000, probe_result, &p);
        test_turns(p.loop, turns);
        probe_close(&p);
        assert_int_equal(p.done, 1);
    }
    probe_open(&p, "postgres://no.such.name.invalid/x", (struct pg_options){0}, NULL);
    test_deaf_name_server(p.loop);
    test_turns(p.loop, 3); /* asks the name servers */
    probe_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline),    cmocka_unit_test(test_terminate),
        cmocka_unit_test(test_restart),     cmocka_unit_test(test_hang),
        cmocka_unit_test(test_free_inside), cmocka_unit_test(test_free_early),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
