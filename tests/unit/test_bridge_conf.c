/* conf of the bridge: defaults, and what does not start. */
#include "bridge/conf.h"

#include "unit.h"

static enum conf_result load(struct bridge_conf *conf, char *const *argv,
                             char *const *envp)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    memset(conf, 0, sizeof *conf);
    return conf_load(&bridge_conf_spec, conf, argc, argv, envp, NULL,
                     bridge_conf_validate);
}

static void test_defaults(void **state)
{
    struct bridge_conf c;
    char *argv[] = {"threadcast-bridge", NULL}, *envp[] = {NULL};

    (void)state;
    assert_int_equal(load(&c, argv, envp), CONF_RUN);
    assert_string_equal(c.listen, "127.0.0.1:8080");
    assert_string_equal(c.redis_url, "redis://127.0.0.1:6379");
    assert_string_equal(c.redis.host, "127.0.0.1");
    assert_int_equal(c.redis.port, 6379);
    assert_string_equal(c.redis_prefix, "");
    assert_string_equal(c.database_schema, "threadcast");
    assert_null(c.database_url);
    assert_int_equal(c.auth, AUTH_MODE_JWT);
    assert_false(c.demo);
    assert_false(c.allow_query_token);
    assert_int_equal(c.keepalive_ms, 15000);
    assert_int_equal(c.client_queue_bytes, 256 * 1024);
    assert_int_equal(c.client_merge_percent, 20);
    assert_int_equal(c.max_clients_per_ip, 0);
    assert_int_equal(c.max_threads_per_stream, 32);
    assert_int_equal(c.history_max_events, 20000);
    assert_int_equal(c.history_max_bytes, 16 * 1024 * 1024);
    assert_int_equal(c.history_ttl_s, 86400);
    assert_int_equal(c.upstream_timeout_ms, 1000);
    bridge_conf_free(&c);
}

static void test_environment(void **state)
{
    struct bridge_conf c;
    char *argv[] = {"threadcast-bridge", "--keepalive-ms", "100", NULL};
    char *envp[] = {"BRIDGE_KEEPALIVE_MS=200",
                    "BRIDGE_RETRY_MS=300",
                    "REDIS_URL=unix:///tmp/r.sock",
                    "REDIS_PREFIX=a:",
                    "DATABASE_URL=postgres:///x",
                    "JWT_SECRET_FILE=/nowhere/key",
                    "LOG_LEVEL=warn",
                    "LOG_FORMAT=json",
                    NULL};

    (void)state;
    assert_int_equal(load(&c, argv, envp), CONF_RUN);
    assert_int_equal(c.keepalive_ms, 100);
    assert_int_equal(c.retry_ms, 300);
    assert_string_equal(c.redis.unix_path, "/tmp/r.sock");
    assert_string_equal(c.redis_prefix, "a:");
    assert_string_equal(c.database_url, "postgres:///x");
    assert_null(c.jwt_secret); /* the file is auth's to read, or to make */
    assert_string_equal(c.jwt_secret_file, "/nowhere/key");
    assert_int_equal(c.log_level, 2);
    assert_int_equal(c.log_format, 1);
    bridge_conf_free(&c);
}

static void test_refused(void **state)
{
    static char *const rows[][4] = {
        {"--listen", "8080"},
        {"--listen", "example.org:80"},
        {"--auth", "maybe"},
        {"--keepalive-ms", "1"},
        {"--keepalive-ms", "1.5"},
        {"--client-merge-percent", "101"},
        {"--max-threads-per-stream", "33"},
        {"--redis-url", "http://localhost"},
        {"--redis-prefix", "a{b"},
        {"--redis-prefix", "a b"},
        {"--database-schema", "pg_catalog"},
        {"--database-schema", "a\nb"},
        {"--database-listen-url", "postgres:///x"},
        {"--jwt-secret", "too short"},
        {"--trusted-proxies", "10.0.0.0/40"},
        {"--allowed-origins", "*"},
        {"--allowed-origins", "https://a.example/path"},
        {"--public-origin", "a.example"},
        {"--base-path", "live"},
        {"--base-path", "/live/"},
        {"--base-path", "/a/../b"},
        {"--auth=none", "--listen=0.0.0.0:8080"},
        {"--auth=none", "--jwt-secret=0123456789012345678901234567890123"},
        {"--client-queue-bytes=2000000", "--history-max-bytes=1000000"},
        {"--shutdown-delay-ms=1", "--drain-ms=0"},
        {"--listen=127.0.0.1:8080", "--admin-listen=localhost:8080"},
        {"--demo", "--guest-ttl-s=2592001"},
        {"--ticket-max-s=3600", "--revocation-ttl-s=3599"},
        {"--jwt-sub-claim", "exp"},
        {"--jwt-sub-claim", "/threadcast/read"},
        {"--jwt-sub-claim=/x", "--jwt-grants-claim=/x"},
        {"--jwt-sub-claim", "/a//b"},
        {"--nothing", "1"},
    };
    struct bridge_conf c;
    char *envp[] = {NULL};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *argv[] = {"threadcast-bridge", rows[i][0], rows[i][1], NULL};
        if (load(&c, argv, envp) != CONF_BAD)
            fail_msg("%s %s is not refused", rows[i][0], rows[i][1]);
        bridge_conf_free(&c);
    }
}

static void test_none_on_loopback(void **state)
{
    struct bridge_conf c;
    char *argv[] = {"threadcast-bridge", "--auth=none", "--listen=[::1]:0", NULL};
    char *envp[] = {NULL};

    (void)state;
    assert_int_equal(load(&c, argv, envp), CONF_RUN);
    assert_int_equal(c.auth, AUTH_MODE_NONE);
    bridge_conf_free(&c);
}

/* Every row of the table has a sentence and a name of its own. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < bridge_conf_spec.option_count; i++) {
        const struct conf_option *o = &bridge_conf_spec.options[i];
        assert_non_null(o->help);
        assert_true(o->help[strlen(o->help) - 1] == '.');
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(o->name, bridge_conf_spec.options[j].name);
            assert_int_not_equal(o->offset, bridge_conf_spec.options[j].offset);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_environment),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_none_on_loopback),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
