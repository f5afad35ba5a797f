/* One connection against a real PostgreSQL: statements, errors, LISTEN, limits, faults.
 */
#include "common/pg.h"

#include "common/buf.h"
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
    test_pg_do(&server,
               "CREATE SCHEMA \"my_app\"; CREATE TABLE my_app.t(id int PRIMARY KEY, "
               "x text); CREATE ROLE ann LOGIN PASSWORD 's3cret'");
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

static void test_statements(void **state)
{
    const char *const row[] = {"7", "a'b\";--\nÖ 🇦🇹"};
    struct probe p;

    (void)state;
    probe_open(&p, server.url, (struct pg_options){.schema = "my_app", .name = "n:1:x"},
               NULL);
    assert_int_equal(pg_state(p.pg), PG_WAITING);
    assert_true(probe_ask(&p, "INSERT INTO t VALUES ($1::int, $2)", 2, row)); /* waited */
    assert_int_equal(p.ready, 1);
    assert_int_equal(p.affected, 1);
    assert_true(probe_ask(&p, "SELECT x FROM t WHERE id = $1::int", 1, row));
    assert_string_equal(p.value, row[1]);
    assert_true(probe_ask(&p, "SELECT $1::text IS NULL", 1, (const char *[]){NULL}));
    assert_string_equal(p.value, "t");
    assert_true(probe_ask(&p, "SELECT NULL::text", 0, NULL));
    assert_true(p.null);
    assert_true(probe_ask(&p, "SELECT x FROM t WHERE id = 8", 0, NULL));
    assert_int_equal(p.rows, 0);
    assert_true(probe_ask(&p, "", 0, NULL));
    assert_true(probe_ask(&p, "SELECT current_setting('application_name')", 0, NULL));
    assert_string_equal(p.value, "n:1:x");
    assert_true(probe_ask(&p, "SHOW search_path", 0, NULL));
    assert_string_equal(p.value, "\"my_app\"");
    assert_true(probe_ask(&p, "SHOW client_encoding", 0, NULL));
    assert_string_equal(p.value, "UTF8");
    assert_true(probe_ask(&p, "SHOW client_connection_check_interval", 0, NULL));
    assert_string_equal(p.value, "2s");
    assert_int_equal(p.ok, p.done);
    assert_int_equal(pg_queued(p.pg), 0);
    probe_close(&p);
    assert_int_equal(p.down, 0);
}

static void check_values(enum pg_outcome outcome, const struct pg_result *res,
                         const struct pg_error *err, void *arg)
{
    assert_int_equal(outcome, PG_OK);
    assert_null(err);
    assert_int_equal(pg_rows(res), 2);
    assert_int_equal(pg_int(res, 0, 0), INT64_MIN);
    assert_int_equal(pg_int(res, 1, 0), 0); /* NULL */
    assert_true(pg_bool(res, 0, 1));
    assert_false(pg_bool(res, 1, 1));
    assert_int_equal(pg_length(res, 0, 2), 5);
    assert_int_equal(pg_length(res, 1, 2), 0);
    assert_non_null(pg_value(res, 1, 2)); /* empty is not NULL */
    assert_null(pg_value(res, 2, 0));
    assert_null(pg_value(res, 0, 3));
    assert_null(pg_value(res, -1, -1));
    ((struct probe *)arg)->done++;
}

static void test_values(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){0});
    assert_true(
        pg_query(p.pg, "VALUES (-9223372036854775808, true, 'hello'), (NULL, false, '')",
                 0, NULL, 5000, check_values, &p));
    assert_true(probe_wait(&p, &p.done, 1));
    probe_close(&p);
}

static const struct {
    const char *sql, *sqlstate, *message;
} failures[] = {
    {"SELEC 1", "42601", "syntax error at or near \"SELEC\""},
    {"SELECT 1; SELECT 2", "42601", "cannot insert multiple commands"},
    {"SELECT * FROM nothing", "42P01", "relation \"nothing\" does not exist"},
    {"SELECT 's3cret'::int", "22P02", "invalid input syntax for type integer"},
    {"SELECT 's3cret'::uuid", "22P02", "invalid input syntax for type uuid"},
    {"INSERT INTO my_app.t VALUES (100), (100)", "23505", "duplicate key value violates"},
    {"DO $$ BEGIN RAISE 'two\nlines'; END $$", "P0001", "two lines"},
    {"SELECT 1/0", "22012", "division by zero"},
    {"SELECT pg_cancel_backend(pg_backend_pid())", "57014", "canceling statement"},
};

static void test_failures(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){0});
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        assert_true(probe_ask(&p, failures[i].sql, 0, NULL));
        assert_int_equal(p.failed, i + 1);
        assert_string_equal(p.sqlstate, failures[i].sqlstate);
        assert_memory_equal(p.message, failures[i].message, strlen(failures[i].message));
        assert_null(strstr(p.message, "s3cret"));
    }
    assert_true(probe_ask(&p, "SELECT 1", 0, NULL)); /* still of use */
    assert_int_equal(p.ok, 1);
    assert_int_equal(p.down, 0);
    assert_true(probe_ask(&p, "COPY my_app.t TO STDOUT", 0, NULL));
    assert_int_equal(p.lost, 1);
    assert_string_equal(p.message, "COPY is not supported");
    assert_true(probe_wait(&p, &p.ready, 2));
    probe_close(&p);
}

static void test_script(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){.schema = "my_app"});
    assert_true(pg_script(p.pg,
                          "CREATE TABLE s(i int); INSERT INTO s VALUES (1),(2);"
                          "SELECT count(*) FROM s",
                          5000, probe_result, &p));
    assert_true(probe_wait(&p, &p.ok, 1));
    assert_string_equal(p.value, "2");
    assert_true(pg_script(p.pg, "INSERT INTO s VALUES (3); SELECT 1/0; SELECT 5", 5000,
                          probe_result, &p));
    assert_true(probe_wait(&p, &p.failed, 1));
    assert_string_equal(p.sqlstate, "22012");
    assert_true(probe_ask(&p, "SELECT count(*) FROM s", 0, NULL));
    assert_string_equal(p.value, "2"); /* all or nothing */
    probe_close(&p);
}

struct order {
    int next;
    bool wrong;
};

static void on_order(enum pg_outcome outcome, const struct pg_result *res,
                     const struct pg_error *err, void *arg)
{
    struct order *o = arg;

    (void)err;
    if (outcome != PG_OK || pg_int(res, 0, 0) != o->next++)
        o->wrong = true;
}

static void test_order(void **state)
{
    struct order o = {0};
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){.queue_max = 500});
    for (int i = 0; i < 500; i++) {
        char text[16];
        const char *params[] = {text};
        snprintf(text, sizeof(text), "%d", i);
        assert_true(pg_query(p.pg, "SELECT $1::int", 1, params, 20000, on_order, &o));
    }
    assert_false(pg_query(p.pg, "SELECT 1", 0, NULL, 5000, on_order, &o)); /* full */
    assert_int_equal(pg_counters(p.pg)->refused, 1);
    assert_true(probe_wait(&p, &o.next, 500));
    assert_false(o.wrong);
    probe_close(&p);
}

static void test_large(void **state)
{
    size_t size = 8 << 20;
    char *text = malloc(size + 1);
    const char *params[] = {text};
    struct probe p;

    (void)state;
    memset(text, 'x', size);
    text[size] = '\0';
    open_ready(&p, (struct pg_options){0});
    assert_true(probe_ask(&p, "SELECT length($1)", 1, params));
    assert_int_equal(atoi(p.value), size);
    probe_close(&p);
    free(text);
}

static void test_listen(void **state)
{
    struct probe p;

    (void)state;
    open_ready(&p, (struct pg_options){.name = "listener",
                                       .listen = "new_message,Odd \"name\"",
                                       .backoff_ms = 100});
    assert_true(test_pg_do(&server, "SELECT pg_notify('new_message', '{\"a\":1}')"));
    assert_true(probe_wait(&p, &p.notified, 1));
    assert_string_equal(p.channel, "new_message");
    assert_string_equal(p.payload, "{\"a\":1}");
    assert_true(test_pg_do(&server, "SELECT pg_notify('Odd \"name\"', '')"));
    assert_true(probe_wait(&p, &p.notified, 2));
    assert_true(test_pg_do(&server, "SELECT pg_notify('another', '')"));
    assert_true(pg_query(p.pg, "SELECT pg_notify('new_message', 'mine')", 0, NULL, 5000,
                         probe_result, &p));
    assert_true(probe_wait(&p, &p.notified, 3));
    assert_string_equal(p.payload, "mine");
    assert_true(test_pg_do(&server,
                           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE application_name = 'listener'"));
    assert_true(probe_wait(&p, &p.ready, 2));
    assert_true(test_pg_do(&server, "SELECT pg_notify('new_message', 'again')"));
    assert_true(probe_wait(&p, &p.notified, 4));
    assert_string_equal(p.payload, "again");
    probe_close(&p);
}

static void test_unix(void **state)
{
    struct probe p;

    (void)state;
    probe_open(&p, server.unix_url, (struct pg_options){.schema = "my_app"}, NULL);
    assert_true(probe_ask(&p, "SELECT inet_client_addr() IS NULL", 0, NULL));
    assert_string_equal(p.value, "t");
    probe_close(&p);
}

static void test_options_kept(void **state)
{
    struct probe p;
    char url[300];

    (void)state;
    snprintf(url, sizeof(url), "%s?options=-c%%20work_mem%%3D1234kB&connect_timeout=3",
             server.url);
    probe_open(&p, url, (struct pg_options){.schema = "my_app"}, NULL);
    assert_true(probe_ask(&p,
                          "SELECT current_setting('work_mem') || "
                          "current_setting('search_path')",
                          0, NULL));
    assert_string_equal(p.value, "1234kB\"my_app\"");
    probe_close(&p);
}

static void down_with(const char *url, const char *why)
{
    struct probe p;

    probe_open(&p, url, (struct pg_options){.backoff_ms = 50}, NULL);
    assert_true(probe_wait(&p, &p.down, 2)); /* tried again */
    print_message("%s\n", p.why);
    assert_non_null(strstr(p.why, why));
    assert_null(strstr(p.why, "s3cret"));
    assert_null(strchr(p.why, '\n'));
    assert_int_equal(p.ready, 0);
    probe_close(&p);
}

static void test_refused(void **state)
{
    char url[300];

    (void)state;
    snprintf(url, sizeof(url), "postgres://postgres@127.0.0.1:%d/x", test_pg_port());
    down_with(url, "Connection refused");
    snprintf(url, sizeof(url), "postgres://ann:s3cret-not@127.0.0.1:%d/postgres",
             server.port);
    down_with(url, "password authentication failed for user \"ann\"");
    snprintf(url, sizeof(url), "postgres://postgres@127.0.0.1:%d/nowhere", server.port);
    down_with(url, "database \"nowhere\" does not exist");
    snprintf(url, sizeof(url), "%s?sslmode=require", server.url);
    down_with(url, "server does not support SSL");
    down_with("postgres://u:s3cret@h:xyz/", "the database URL: the port");
    down_with("postgres://u:s3cret%zz@h/", "the database URL: invalid");
}

static void test_password(void **state)
{
    struct probe p;
    char url[300];

    (void)state;
    snprintf(url, sizeof(url), "postgresql://ann:%%73%%33cret@127.0.0.1:%d/postgres",
             server.port);
    probe_open(&p, url, (struct pg_options){0}, NULL);
    assert_true(probe_ask(&p, "SELECT current_user", 0, NULL));
    assert_string_equal(p.value, "ann");
    probe_close(&p);
}

/* A host that refuses and one that does not; two names for one. */
static void test_hosts(void **state)
{
    struct probe p;
    char url[300];

    (void)state;
    snprintf(url, sizeof(url), "postgres://postgres@127.0.0.1:%d,localhost:%d/postgres",
             test_pg_port(), server.port);
    probe_open(&p, url, (struct pg_options){0}, NULL);
    assert_true(probe_wait(&p, &p.ready, 1));
    assert_int_equal(p.down, 0);
    probe_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements),   cmocka_unit_test(test_values),
        cmocka_unit_test(test_failures),     cmocka_unit_test(test_script),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_large),
        cmocka_unit_test(test_listen),       cmocka_unit_test(test_unix),
        cmocka_unit_test(test_options_kept), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_password),     cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
