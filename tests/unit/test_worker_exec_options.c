/* What agents.json may say of a program: every member, its bounds, and what is refused.
 */
#include "worker/agents/exec_options.h"

#include "unit.h"

static struct exec_options *read_options(const char *json, struct buf *err)
{
    buf_init(err);
    return exec_options_new(json, strlen(json), err);
}

static void nothing_said(void **state)
{
    struct buf err;
    struct exec_options *o = read_options("{\"command\":\"cat\"}", &err);

    (void)state;
    if (!o) { /* no memory */
        assert_true(err.failed || err.len > 0);
        buf_fini(&err);
        return;
    }
    assert_string_equal(o->command, "cat");
    assert_null(o->directory);
    assert_false(o->persistent);
    assert_int_equal(o->time_limit_s, 0);
    assert_int_equal(o->output_limit_bytes, 256 << 20);
    assert_null(o->env[0]);
    exec_options_free(o);
    buf_fini(&err);
}

static void all_of_it(void **state)
{
    static const char json[] =
        "{\"command\":\"python3 a.py\",\"directory\":\"/srv\",\"mode\":\"persistent\","
        "\"time_limit_s\":60,\"cpu_limit_s\":5,\"memory_limit_mb\":256,"
        "\"output_limit_bytes\":1000,\"files_limit\":64,\"processes\":3,"
        "\"runs_at_once\":7,\"start_limit_s\":9,\"idle_s\":0,\"runs_per_process\":100,"
        "\"env\":{\"MODEL\":\"a=b\",\"HTTPS_PROXY\":true,\"OPENAI_API_KEY\":\"mine\"}}";
    struct buf err;
    struct exec_options *o = read_options(json, &err);
    bool set = false, passed = false;

    (void)state;
    if (o) {
        assert_true(o->persistent);
        assert_string_equal(o->directory, "/srv");
        assert_int_equal(o->time_limit_s + o->cpu_limit_s + o->memory_limit_mb, 321);
        assert_int_equal(o->output_limit_bytes + o->files_limit, 1064);
        assert_int_equal(o->processes + o->runs_at_once + o->start_limit_s, 19);
        assert_int_equal(o->idle_s + o->runs_per_process, 100);
        for (size_t i = 0; o->env[i]; i++) {
            set |= strcmp(o->env[i], "MODEL=a=b") == 0;
            passed |= strcmp(o->env[i], "HTTPS_PROXY") == 0;
        }
        assert_true(set && passed);
        exec_options_free(o);
    }
    buf_fini(&err);
}

static void complaints(void **state)
{
    static const struct {
        const char *member, *says;
    } all[] = {
        {"\"x\":1", "x: there is no such member"},
        {"\"command\":7", "command: must be a text"},
        {"\"directory\":\"\"", "directory: must be a text"},
        {"\"mode\":\"pool\"", "mode: must be `message` or `persistent`"},
        {"\"time_limit_s\":-1", "time_limit_s: must be a whole number from 0"},
        {"\"time_limit_s\":1.5", "time_limit_s: must be a whole number"},
        {"\"cpu_limit_s\":\"1\"", "cpu_limit_s: must be a whole number"},
        {"\"memory_limit_mb\":99999999", "memory_limit_mb: must be a whole number"},
        {"\"files_limit\":3", "files_limit: no program starts"},
        {"\"processes\":2", "processes: needs `\"mode\":\"persistent\"`"},
        {"\"mode\":\"persistent\",\"processes\":0", "processes: must be a whole number"},
        {"\"env\":[]", "env: must be an object"},
        {"\"env\":{\"A B\":\"x\"}", "env.A B: no name"},
        {"\"env\":{\"1A\":\"x\"}", "env.1A: no name"},
        {"\"env\":{\"THREADCAST_RUN_ID\":\"x\"}", "env.THREADCAST_RUN_ID: no name"},
        {"\"env\":{\"A\":1}", "env.A: must be a text, or true"},
        {"\"env\":{\"A\":false}", "env.A: must be a text, or true"},
        {"\"env\":{\"DATABASE_URL\":true}", "env.DATABASE_URL: the worker's own"},
        {"\"env\":{\"REDIS_URL\":true}", "env.REDIS_URL: the worker's own"},
        {"\"env\":{\"JWT_SECRET\":true}", "env.JWT_SECRET: the worker's own"},
        {"\"env\":{\"OPENAI_API_KEY\":true}", "env.OPENAI_API_KEY: the worker's own"},
        {"\"env\":{\"PGPASSWORD\":true}", "env.PGPASSWORD: the worker's own"},
        {"\"env\":{\"MY_PASSWORD\":true}", "env.MY_PASSWORD: the worker's own"},
    };
    struct buf err;
    char json[200];

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        bool has_command = strstr(all[i].member, "\"command\"") != NULL;
        snprintf(json, sizeof(json), "{%s%s}", has_command ? "" : "\"command\":\"cat\",",
                 all[i].member);
        assert_null(read_options(json, &err));
        if (!err.failed && !strstr(err.data, "memory"))
            assert_non_null(strstr(err.data, all[i].says));
        buf_fini(&err);
    }
    assert_null(read_options("{}", &err));
    buf_fini(&err);
    assert_null(read_options("[]", &err));
    buf_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_said),
        cmocka_unit_test(all_of_it),
        cmocka_unit_test(complaints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
