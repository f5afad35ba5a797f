/* Which agents there are, and that nobody but the operator says what they run. */
#include "worker/agents.h"

#include "unit.h"

#include "common/buf.h"
#include "worker/agent.h"
#include "worker/agents/exec_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool well_formed(const char *agent, const char *agents)
{
    const struct agents_source from = {.standard = agent, .list = agents};
    struct agents *a;
    struct buf err;

    buf_init(&err);
    a = agents_new(&from, &err);
    assert_true((a != NULL) == (err.len == 0));
    buf_fini(&err);
    agents_free(a);
    return a != NULL;
}

static void options(void **state)
{
    (void)state;
    assert_true(well_formed("demo", NULL));
    assert_true(well_formed("exec:cat", NULL));
    assert_true(well_formed("mine", "mine=exec:cat"));
    assert_true(well_formed("mine", "mine=demo,other=exec:x"));
    assert_true(well_formed("demo", "demo=exec:my-own"));
    assert_false(well_formed("nobody", NULL));
    assert_false(well_formed("exec:", NULL));
    assert_false(well_formed("exec", NULL));
    assert_false(well_formed("demo:fast", NULL));
    assert_false(well_formed("exec:\xff", NULL));
    assert_false(well_formed("", NULL));
    assert_false(well_formed("demo", "mine"));
    assert_false(well_formed("demo", "a b=exec:x"));
    assert_false(well_formed("demo", "a=exec:x,a=exec:y"));
    assert_false(well_formed("demo", "a=python"));
    assert_false(well_formed("demo", "default=demo"));
    assert_false(well_formed("exec:x", "exec=exec:y"));
}

static const char *command(const struct agents *a, const char *name)
{
    const struct exec_options *o = agents_find(a, name)->options;

    assert_string_equal(agents_find(a, name)->kind->name, "exec");
    return o->command;
}

static void found(void **state)
{
    const struct agents_source from = {.standard = "exec:a, b=c",
                                       .list = "one=exec:x,y z,two=exec:echo a=b"};
    struct buf err;
    struct agents *a;

    (void)state;
    buf_init(&err);
    a = agents_new(&from, &err);
    assert_non_null(a);
    assert_string_equal(command(a, "default"), "a, b=c");
    assert_string_equal(agents_find(a, "default")->name, "exec");
    assert_string_equal(command(a, "one"), "x,y z");
    assert_string_equal(command(a, "two"), "echo a=b");
    assert_string_equal(agents_find(a, "demo")->kind->name, "demo");
    assert_null(agents_find(a, "exec:rm"));
    assert_null(agents_find(a, "three"));
    assert_null(agents_find(a, ""));
    assert_string_equal(agents_at(a, 0)->name, "one");
    assert_string_equal(agents_at(a, 2)->name, "exec");
    assert_null(agents_at(a, 3)); /* nobody named the demo */
    agents_free(a);
    buf_fini(&err);
}

/* --- the file --------------------------------------------------------------------- */

static char path[] = "/tmp/threadcast-agents-XXXXXX";

static void write_file(const char *text, size_t len)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct agents *of_file(const char *text, const char *list, struct buf *err)
{
    const struct agents_source from = {.standard = "demo", .list = list, .file = path};

    write_file(text, strlen(text));
    buf_clear(err);
    return agents_new(&from, err);
}

static void file(void **state)
{
    struct buf err;
    struct agents *a;

    (void)state;
    buf_init(&err);
    a = of_file("{\"default\":\"calc\",\"agents\":{"
                "\"slow\":{\"kind\":\"demo\",\"description\":\"Thinks \xc3\xbc.\","
                "\"rate\":3},"
                "\"calc\":{\"kind\":\"exec\",\"command\":\"bc -l\"}}}",
                "more=exec:cat", &err);
    assert_non_null(a);
    assert_string_equal(agents_find(a, "default")->name, "calc");
    assert_string_equal(command(a, "calc"), "bc -l");
    assert_string_equal(agents_find(a, "slow")->description, "Thinks \xc3\xbc.");
    assert_null(agents_find(a, "calc")->description);
    assert_string_equal(agents_at(a, 0)->name, "more");
    assert_string_equal(agents_at(a, 2)->name, "calc");
    assert_null(agents_at(a, 3));
    assert_null(agents_find(a, "demo")); /* the file does not have it */
    agents_free(a);
    a = of_file("{\"agents\":{}}", NULL, &err);
    assert_non_null(a);
    assert_string_equal(agents_find(a, "default")->name, "demo"); /* --agent */
    assert_string_equal(agents_at(a, 0)->name, "demo");
    agents_free(a);
    buf_fini(&err);
}

static void complaints(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", ": is empty"},
        {"{\"agents\":", ": line 1, column 10: the text ends too early"},
        {"nonsense-sk-123", ": line 1, column 8: not JSON"},
        {"[]", ": must be a JSON object"},
        {"{}", ": agents: is needed"},
        {"{\"agents\":[]}", ": agents: must be an object"},
        {"{\"agents\":{},\"agent\":{}}", ": agent: there is no such member"},
        {"{\"agents\":{},\"default\":1}", ": default: must be an agent's name"},
        {"{\"agents\":{},\"default\":\"demo\"}",
         ": default: there is no agent of this name"},
        {"{\"agents\":{\"a\":{\"kind\":\"demo\"},\"a\":{\"kind\":\"demo\"}}}",
         ": line 1, column 34: the name stands there twice"},
        {"{\"agents\":{\"a\":1}}", ": agents.a: must be an object"},
        {"{\"agents\":{\"a\":{}}}", ": agents.a.kind: is needed"},
        {"{\"agents\":{\"a\":{\"kind\":1}}}", ": agents.a.kind: must be a text"},
        {"{\"agents\":{\"a\":{\"kind\":\"x\"}}}", ": agents.a.kind: must be one of demo"},
        {"{\"agents\":{\"a b\":{\"kind\":\"demo\"}}}",
         ": agents.a b: a name has 1 to 64 letters"},
        {"{\"agents\":{\"default\":{\"kind\":\"demo\"}}}",
         ": agents.default: this name means who answers"},
        {"{\"agents\":{\"listed\":{\"kind\":\"demo\"}}}",
         ": agents.listed: is there twice"},
        {"{\"agents\":{\"a\":{\"kind\":\"demo\",\"description\":1}}}",
         ": agents.a.description: must be a text"},
        {"{\"agents\":{\"a\":{\"kind\":\"demo\",\"speed\":1}}}",
         ": agents.a.speed: there is no such member"},
        {"{\"agents\":{\"a\":{\"kind\":\"demo\",\"rate\":\"1\"}}}",
         ": agents.a.rate: must"},
        {"{\"agents\":{\"a\":{\"kind\":\"demo\",\"rate\":-1}}}", ": agents.a.rate: must"},
        {"{\"agents\":{\"a\":{\"kind\":\"exec\"}}}", ": agents.a.command: is needed"},
        {"{\"agents\":{\"a\":{\"kind\":\"exec\",\"command\":\"\"}}}",
         ": agents.a.command: must be a text"},
        {"{\"agents\":{\"a\":{\"kind\":\"exec\",\"command\":\"x\",\"key\":\"sk-123\"}}}",
         ": agents.a.key: there is no such member"},
    };
    struct buf err;

    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(of_file(bad[i].text, "listed=demo", &err));
        assert_memory_equal(err.data, path, strlen(path));
        if (strncmp(err.data + strlen(path), bad[i].why, strlen(bad[i].why)) != 0)
            fail_msg("%s\n is %s\n not %s", bad[i].text, err.data, bad[i].why);
        assert_null(strstr(err.data, "sk-123"));
    }
    buf_fini(&err);
}

static void unreadable(void **state)
{
    static char large[1024 * 1024 + 2];
    const struct agents_source none = {.file = "/nowhere/agents.json"},
                               big = {.file = path};
    struct buf err;

    (void)state;
    buf_init(&err);
    assert_null(agents_new(&none, &err));
    assert_string_equal(err.data, "/nowhere/agents.json: No such file or directory");
    buf_clear(&err);
    memset(large, ' ', sizeof(large));
    write_file(large, sizeof(large));
    assert_null(agents_new(&big, &err));
    assert_non_null(strstr(err.data, "is larger than 1 MiB"));
    buf_fini(&err);
}

static void too_many(void **state)
{
    struct buf text, err;
    struct agents *a;

    (void)state;
    buf_init(&text);
    buf_init(&err);
    for (int n = 64; n <= 65; n++) {
        buf_clear(&text);
        buf_str(&text, "{\"default\":\"a0\",\"agents\":{");
        for (int i = 0; i < n; i++)
            buf_printf(&text, "%s\"a%d\":{\"kind\":\"demo\"}", i > 0 ? "," : "", i);
        buf_str(&text, "}}");
        a = of_file(text.data, NULL, &err);
        assert_true((a != NULL) == (n == 64));
        agents_free(a);
    }
    assert_non_null(strstr(err.data, "agents.a64: there may be 64 agents"));
    buf_fini(&text);
    buf_fini(&err);
}

/* A run keeps what it was started with when the registry is another one. */
static void kept(void **state)
{
    const struct agent_def *def;
    struct buf err;
    struct agents *a;

    (void)state;
    buf_init(&err);
    a = of_file("{\"default\":\"c\",\"agents\":{\"c\":{\"kind\":\"exec\","
                "\"command\":\"old\"}}}",
                NULL, &err);
    assert_non_null(a);
    def = agent_def_ref(agents_find(a, "c"));
    agents_free(a);
    assert_string_equal(((const struct exec_options *)def->options)->command, "old");
    agent_def_unref(def);
    agent_def_unref(NULL);
    buf_fini(&err);
}

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),    cmocka_unit_test(found),
        cmocka_unit_test(file),       cmocka_unit_test(complaints),
        cmocka_unit_test(unreadable), cmocka_unit_test(too_many),
        cmocka_unit_test(kept),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
