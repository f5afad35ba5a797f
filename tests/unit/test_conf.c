#include "common/conf.h"

#include "unit.h"

#include <sys/mman.h>
#include <unistd.h>

struct options {
    bool demo;
    int64_t keepalive_ms, many;
    char *listen, *prefix;
    char *secret, *redis_url, *own, *own_file;
    int auth;
};

static bool check_listen(const char *value, struct buf *err)
{
    if (strchr(value, ':'))
        return true;
    buf_str(err, "must be host:port");
    return false;
}

#define AT(field) offsetof(struct options, field)

static const struct conf_option table[] = {
    {.name = "listen",
     .kind = CONF_STR,
     .offset = AT(listen),
     .def = "127.0.0.1:8080",
     .unit = "host:port",
     .help = "Where to listen.",
     .check = check_listen},
    {.name = "keepalive-ms",
     .kind = CONF_INT,
     .offset = AT(keepalive_ms),
     .min = 100,
     .max = 60000,
     .def = "15000",
     .unit = "ms",
     .help = "A comment line is sent after this time without a byte, so that proxies do "
             "not take the stream for dead."},
    {.name = "max-clients-that-has-a-long-name",
     .kind = CONF_INT,
     .offset = AT(many),
     .min = -5,
     .max = INT64_MAX,
     .def = "0",
     .help = "Many."},
    {.name = "demo",
     .kind = CONF_BOOL,
     .offset = AT(demo),
     .def = "false",
     .help = "Serves the demo application."},
    {.name = "auth",
     .kind = CONF_CHOICE,
     .offset = AT(auth),
     .def = "jwt",
     .choices = "jwt|none",
     .help = "Who may come in."},
    {.name = "redis-prefix",
     .kind = CONF_STR,
     .offset = AT(prefix),
     .def = "",
     .help = "Before every name."},
    {.name = "jwt-secret",
     .env = "JWT_SECRET",
     .kind = CONF_SECRET,
     .offset = AT(secret),
     .help = "The key.",
     .check = NULL},
    {.name = "redis-url",
     .env = "REDIS_URL",
     .kind = CONF_SECRET,
     .offset = AT(redis_url),
     .def = "redis://127.0.0.1",
     .help = "Redis."},
    {.name = "own", .kind = CONF_SECRET, .offset = AT(own), .help = "Own."},
    {.name = "own-file", .kind = CONF_STR, .offset = AT(own_file), .help = "Made here."},
};
static const char *const commands[] = {"migrate", "status", NULL};
static const struct conf_spec spec = {
    .program = "threadcast-test",
    .about = "Tests options, and has more to say about it than goes into one line of a "
             "terminal that is ninety columns wide.",
    .env_prefix = "BRIDGE_",
    .options = table,
    .option_count = COUNT(table),
    .commands = commands,
};

/* --- one load, with what it printed ----------------------------------------------- */

static struct options got;
static const char *command;
static char printed[16384], complained[16384];

static bool validate(void *out, struct buf *err)
{
    struct options *o = out;

    if (!o->demo || o->auth == 0)
        return true;
    buf_str(err, "--demo needs --auth jwt");
    return false;
}

static void slurp(int fd, int saved, char *text, size_t size)
{
    ssize_t n;

    n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    dup2(saved, fd);
    close(saved);
}

static int divert(int fd)
{
    char path[] = "/tmp/threadcast-conf-XXXXXX";
    int saved = dup(fd), file = mkstemp(path);

    unlink(path);
    dup2(file, fd);
    close(file);
    return saved;
}

/* Words separated by single spaces; "~" stands for an empty one. */
static void split(char *text, char **ret_words, int *ret_count)
{
    int n = 0;

    for (char *w = strtok(text, " "); w; w = strtok(NULL, " "))
        ret_words[n++] = strcmp(w, "~") == 0 ? w + 1 : w;
    ret_words[n] = NULL;
    *ret_count = n;
}

static enum conf_result load(const char *args, const char *env)
{
    char args_copy[1024], env_copy[1024];
    char *argv[64], *envp[64];
    int argc, envc, out, err;
    enum conf_result r;

    conf_free(&spec, &got);
    memset(&got, 0, sizeof(got));
    snprintf(args_copy, sizeof(args_copy), "program %s", args);
    snprintf(env_copy, sizeof(env_copy), "%s", env);
    split(args_copy, argv, &argc);
    split(env_copy, envp, &envc);
    fflush(stdout);
    out = divert(STDOUT_FILENO);
    err = divert(STDERR_FILENO);
    r = conf_load(&spec, &got, argc, argv, envp, &command, validate);
    fflush(stdout);
    slurp(STDOUT_FILENO, out, printed, sizeof(printed));
    slurp(STDERR_FILENO, err, complained, sizeof(complained));
    return r;
}

static int clean(void **state)
{
    (void)state;
    conf_free(&spec, &got);
    return 0;
}

/* --- tests ------------------------------------------------------------------------ */

static void has_defaults(void **state)
{
    (void)state;
    assert_int_equal(load("", "PATH=/bin HOME=/ BRIDGE=1"), CONF_RUN);
    assert_string_equal(got.listen, "127.0.0.1:8080");
    assert_int_equal(got.keepalive_ms, 15000);
    assert_string_equal(got.prefix, "");
    assert_string_equal(got.redis_url, "redis://127.0.0.1");
    assert_null(got.secret);
    assert_false(got.demo);
    assert_int_equal(got.auth, 0);
    assert_null(command);
    assert_string_equal(printed, "");
    assert_string_equal(complained, "");
}

static void takes_flags_and_environment(void **state)
{
    (void)state;
    assert_int_equal(load("--listen [::1]:1 --keepalive-ms=200 --demo --redis-prefix=a=b",
                          "BRIDGE_KEEPALIVE_MS=300 REDIS_URL=unix:///r "
                          "BRIDGE_MAX_CLIENTS_THAT_HAS_A_LONG_NAME=-5"),
                     CONF_RUN);
    assert_string_equal(got.listen, "[::1]:1");
    assert_int_equal(got.keepalive_ms, 200); /* the flag wins */
    assert_true(got.demo);
    assert_string_equal(got.prefix, "a=b");
    assert_string_equal(got.redis_url, "unix:///r");
    assert_int_equal(got.many, -5);

    /* an empty variable counts as not given, an empty flag does not */
    assert_int_equal(load("--redis-prefix ~", "BRIDGE_LISTEN= JWT_SECRET= REDIS_URL="),
                     CONF_RUN);
    assert_string_equal(got.listen, "127.0.0.1:8080");
    assert_null(got.secret);

    assert_int_equal(load("--no-demo", "BRIDGE_DEMO=on"), CONF_RUN);
    assert_false(got.demo);
    assert_int_equal(load("--demo=1", "BRIDGE_DEMO=off"), CONF_RUN);
    assert_true(got.demo);
    assert_int_equal(load("--auth none", "BRIDGE_AUTH=wrong"), CONF_RUN);
    assert_int_equal(got.auth, 1);
    assert_int_equal(load("--listen a:1 --listen b:2", ""), CONF_RUN);
    assert_string_equal(got.listen, "b:2");
}

static void takes_commands(void **state)
{
    (void)state;
    assert_int_equal(load("migrate --demo", ""), CONF_RUN);
    assert_string_equal(command, "migrate");
    assert_true(got.demo);
    assert_int_equal(load("--demo migrate", ""), CONF_BAD);
    assert_int_equal(load("migrate status", ""), CONF_BAD);
    assert_int_equal(load("migrat", ""), CONF_BAD);
}

static const struct {
    const char *args, *env, *complaint;
} bad[] = {
    {"--keepalive 5", "", "unknown option \"--keepalive\""},
    {"--keepaliv-ms 5", "",
     "unknown option \"--keepaliv-ms\", did you mean --keepalive-ms?"},
    {"--lisetn a:1", "", "did you mean --listen?"},
    {"--xyzzy", "", "unknown option \"--xyzzy\"\n"},
    {"--no-listen", "", "unknown option \"--no-listen\""},
    {"--no-demo=1", "", "unknown option \"--no-demo\""},
    {"-x", "", "unexpected argument \"-x\""},
    {"--", "", "unexpected argument \"--\""},
    {"--demo false", "", "unexpected argument \"false\""},
    {"--listen", "", "--listen needs a value\n"},
    {"--listen --demo", "", "--listen needs a value (one that begins with -- is written"},
    {"--listen nowhere", "", "--listen \"nowhere\": must be host:port"},
    {"", "BRIDGE_LISTEN=nowhere", "BRIDGE_LISTEN \"nowhere\": must be host:port"},
    {"--keepalive-ms 99", "", "--keepalive-ms \"99\": must be from 100 to 60000 ms"},
    {"--keepalive-ms 60001", "", "must be from 100 to 60000 ms"},
    {"--keepalive-ms 1e3", "", "--keepalive-ms \"1e3\": must be a whole number"},
    {"--keepalive-ms +200", "", "must be a whole number"},
    {"--keepalive-ms 0x99", "", "must be a whole number"},
    {"--keepalive-ms ~", "", "must be a whole number"},
    {"--keepalive-ms -", "", "must be a whole number"},
    {"--keepalive-ms 200ms", "", "must be a whole number"},
    {"--keepalive-ms 99999999999999999999", "", "must be a whole number"},
    {"--max-clients-that-has-a-long-name -6", "", "must be at least -5"},
    {"--demo=maybe", "", "--demo \"maybe\": must be true or false"},
    {"--auth jw", "", "--auth \"jw\": must be one of jwt|none"},
    {"--auth jwt|none", "", "must be one of"},
    {"--auth ~", "", "must be one of"},
    {"", "BRIDGE_FOO=1", "unknown environment variable \"BRIDGE_FOO\"\n"},
    {"", "BRIDGE_KEEPALVE_MS=1", "did you mean BRIDGE_KEEPALIVE_MS?"},
    {"", "BRIDGE_LISTEN_FILE=/x", "unknown environment variable"},
    {"", "BRIDGE_FOO=", "unknown environment variable"},
    {"", "BRIDGE_REDIS_URL=x", "did you mean REDIS_URL?"},
    {"", "BRIDGE_=x", "unknown environment variable \"BRIDGE_\"\n"},
    {"--demo --auth none", "", "threadcast-test: --demo needs --auth jwt\n"},
    {"--jwt-secret x --jwt-secret-file /x", "", "given both itself and as a file"},
    {"", "JWT_SECRET=x JWT_SECRET_FILE=/x", "given both itself and as a file"},
    {"--jwt-secret-file /no/such", "", "--jwt-secret-file \"/no/such\": No such file"},
    {"", "JWT_SECRET_FILE=/no/such", "JWT_SECRET_FILE \"/no/such\": No such file"},
    {"--jwt-secret-file /tmp", "", "--jwt-secret-file \"/tmp\": "},
    {"--listen \x1b[31m", "", "--listen \"\\u001b[31m\": must be"},
};

static void says_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(load(bad[i].args, bad[i].env), CONF_BAD);
        if (!strstr(complained, bad[i].complaint))
            print_error("%s | %s: %s", bad[i].args, bad[i].env, complained);
        assert_non_null(strstr(complained, bad[i].complaint));
        assert_memory_equal(complained, "threadcast-test: ", 17);
        assert_string_equal(printed, "");
    }
    assert_int_equal(load("--xyzzy 5", ""), CONF_BAD);
    assert_string_equal(complained, "threadcast-test: unknown option \"--xyzzy\"\n");
    assert_int_equal(load("--xyzzy --listen x --auth y", "BRIDGE_FOO=1"), CONF_BAD);
    assert_non_null(strstr(complained, "--xyzzy"));
    assert_non_null(strstr(complained, "--listen \"x\""));
    assert_non_null(strstr(complained, "--auth \"y\""));
    assert_non_null(strstr(complained, "BRIDGE_FOO"));
}

static void write_file(const char *path, const char *data, size_t len)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fwrite(data, 1, len, f);
    fclose(f);
}

static char secret_path[32];

/* In memory: nothing is left behind where a failed allocation ends the test. */
static int make_file(void **state)
{
    (void)state;
    return snprintf(secret_path, sizeof(secret_path), "/proc/self/fd/%d",
                    memfd_create("secret", 0)) < 0;
}

static void reads_secrets_from_files(void **state)
{
    static const struct {
        const char *data;
        size_t len;
        const char *value; /* NULL: refused */
    } files[] = {
        {"hush", 4, "hush"},       {"hush\n", 5, "hush"}, {"hush\r\n", 6, "hush"},
        {"hush\n\n", 6, "hush\n"}, {"", 0, NULL},         {"\n", 1, NULL},
        {"a\0b", 3, NULL},
    };
    const char *path = secret_path;
    char args[128], *big;

    (void)state;
    snprintf(args, sizeof(args), "--jwt-secret-file %s", path);
    for (size_t i = 0; i < COUNT(files); i++) {
        write_file(path, files[i].data, files[i].len);
        assert_int_equal(load(args, ""), files[i].value ? CONF_RUN : CONF_BAD);
        if (files[i].value)
            assert_string_equal(got.secret, files[i].value);
    }
    big = calloc(1, 70000);
    memset(big, 'x', 70000);
    write_file(path, big, 70000);
    assert_int_equal(load(args, ""), CONF_BAD);
    assert_non_null(strstr(complained, "larger than 64 KiB"));
    free(big);

    write_file(path, "from-file\n", 10);
    snprintf(args, sizeof(args), "JWT_SECRET_FILE=%s", path);
    assert_int_equal(load("", args), CONF_RUN);
    assert_string_equal(got.secret, "from-file");
    assert_int_equal(load("--jwt-secret flag", args), CONF_RUN);
    assert_string_equal(got.secret, "flag");
}

/* A row "own-file" of its own: the daemon reads, or makes, that file itself. */
static void leaves_files_to_their_own_row(void **state)
{
    (void)state;
    assert_int_equal(load("--own-file /not/yet", "JWT_SECRET=s"), CONF_RUN);
    assert_string_equal(got.own_file, "/not/yet");
    assert_null(got.own);
    assert_int_equal(load("", "BRIDGE_OWN_FILE=/not/yet"), CONF_RUN);
    assert_string_equal(got.own_file, "/not/yet");
}

static bool refuse_secret(const char *value, struct buf *err)
{
    (void)value;
    buf_str(err, "must have at least 32 bytes");
    return false;
}

static void never_prints_secrets(void **state)
{
    struct conf_option option = table[6];
    struct conf_spec one = {.program = "p",
                            .about = "",
                            .env_prefix = "P_",
                            .options = &option,
                            .option_count = 1};
    char *flags[] = {"p", "--jwt-secret", "hunter2"};
    char *both[] = {"p", "--jwt-secret=hunter2", "--jwt-secretx=hunter2"};
    char *envp[] = {"JWT_SECRET=hunter2", NULL};
    char *const *argvs[] = {flags, both, flags};
    const int argcs[] = {3, 3, 1};

    (void)state;
    option.check = refuse_secret;
    for (size_t i = 0; i < COUNT(argvs); i++) {
        int err = divert(STDERR_FILENO);
        enum conf_result r = conf_load(&one, &got, argcs[i], argvs[i], envp, NULL, NULL);
        slurp(STDERR_FILENO, err, complained, sizeof(complained));
        assert_int_equal(r, CONF_BAD);
        assert_non_null(strstr(complained, "must have at least 32 bytes"));
        assert_null(strstr(complained, "hunter2"));
    }
}

static void prints_and_exits(void **state)
{
    (void)state;
    assert_int_equal(load("--version", "BRIDGE_FOO=1"), CONF_EXIT);
    assert_memory_equal(printed, "threadcast-test 0.", 18);
    assert_int_equal(load("--check-config", ""), CONF_EXIT);
    assert_string_equal(printed, "threadcast-test: the configuration is good\n");
    assert_int_equal(load("--check-config --listen x", ""), CONF_BAD);
    assert_int_equal(load("--check-config --demo --auth none", ""), CONF_BAD);
    assert_int_equal(load("--xyzzy --help", "BRIDGE_FOO=1"), CONF_EXIT);
    assert_memory_equal(printed, "Usage: threadcast-test [migrate|status] [options]\n",
                        50);
    assert_string_equal(complained, "");
}

static void help_fits_the_terminal(void **state)
{
    (void)state;
    assert_int_equal(load("--help", ""), CONF_EXIT);
    for (size_t i = 0; i < COUNT(table); i++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "--%s%s ", table[i].kind == CONF_BOOL ? "[no-]" : "",
                 table[i].name);
        assert_non_null(strstr(printed, flag));
    }
    assert_non_null(strstr(printed, "Default: 15000."));
    assert_non_null(strstr(printed, "\nninety columns wide.\n\n"));
    assert_non_null(strstr(printed, "[BRIDGE_KEEPALIVE_MS]"));
    assert_non_null(strstr(printed, "[JWT_SECRET_FILE]"));
    assert_null(strstr(printed, "[BRIDGE_OWN] [BRIDGE_OWN_FILE]"));
    for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 90);
        assert_true(line[strlen(line) - 1] != ' ');
    }
}

static void prints_the_readme_table(void **state)
{
    size_t lines = 0;

    (void)state;
    assert_int_equal(load("--help-markdown", ""), CONF_EXIT);
    assert_non_null(strstr(printed, "| `--auth jwt\\|none` | `BRIDGE_AUTH` | `jwt` | "
                                    "Who may come in. |\n"));
    assert_non_null(strstr(printed, "`JWT_SECRET`, `JWT_SECRET_FILE` |  | The key. |"));
    for (char *c = printed; (c = strchr(c, '\n')); c++)
        lines++;
    assert_int_equal(lines, COUNT(table) + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(takes_flags_and_environment),
        cmocka_unit_test(takes_commands),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test_setup(reads_secrets_from_files, make_file),
        cmocka_unit_test(leaves_files_to_their_own_row),
        cmocka_unit_test(never_prints_secrets),
        cmocka_unit_test(prints_and_exits),
        cmocka_unit_test(help_fits_the_terminal),
        cmocka_unit_test(prints_the_readme_table),
    };

    return cmocka_run_group_tests(tests, NULL, clean);
}
