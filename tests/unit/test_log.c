#include "common/json.h"
#include "common/log.h"

#include "common/utf8.h"
#include "unit.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* stderr of these tests is one end of something; `reader` is the other. */
static int reader = -1, saved = -1;

static void redirect(const int fds[2], enum log_level level, enum log_format format)
{
    saved = dup(STDERR_FILENO);
    reader = fds[0];
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    log_setup(level, format);
}

static void open_pipe(enum log_level level, enum log_format format)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    redirect(fds, level, format);
}

/* Puts the real stderr back and returns all that was written meanwhile. */
static char *finish(void)
{
    static char text[300000];
    size_t len = 0;
    ssize_t n;

    dup2(saved, STDERR_FILENO);
    close(saved);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    while (reader >= 0 && (n = read(reader, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    if (reader >= 0)
        close(reader);
    reader = -1;
    return text;
}

static void writes_text_lines(void **state)
{
    char *text, *second;

    (void)state;
    open_pipe(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_debug("not this");
    log_info("client closed", LOG_S("thread", "t1"), LOG_S("reason", "too slow"),
             LOG_I("bytes", -12), LOG_S("none", NULL),
             LOG_S("q", "a\"b=\n\x1b\xC2\x9B\xFF"));
    log_error("one\nline");
    text = finish();
    second = strchr(text, '\n');
    assert_non_null(second);
    *second++ = '\0';
    assert_int_equal(strcspn(text, " "), 24);
    assert_string_equal(text + 24,
                        " info client closed thread=t1 reason=\"too slow\" bytes=-12 "
                        "none=\"\" q=\"a\\\"b=\\n\\u001b\\u009b\xEF\xBF\xBD\"");
    assert_string_equal(second + 24, " error one\\nline\n");
}

static void writes_json_lines(void **state)
{
    json_t *line;
    char *text;

    (void)state;
    open_pipe(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    log_warn("a \"b\"", LOG_S("s", "x\ty\x01\xFF\x7F"), LOG_I("n", INT64_MIN));
    text = finish();
    line = json_read(text, strlen(text), 0, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(line, "msg")), "a \"b\"");
    assert_string_equal(json_string_value(json_object_get(line, "s")),
                        "x\ty\x01\xEF\xBF\xBD\x7F");
    assert_true(json_integer_value(json_object_get(line, "n")) == INT64_MIN);
    assert_int_equal(strlen(json_string_value(json_object_get(line, "ts"))), 24);
    json_decref(line);
}

/* However long the values are: one line, valid, at most PIPE_BUF, and it says so. */
static void cuts_long_lines(void **state)
{
    static const char *const fillers[] = {"a", "\x01", "\xF0\x9F\x87\xA6", "\xFF", "\""};

    (void)state;
    for (size_t f = 0; f < COUNT(fillers); f++) {
        for (size_t len = 1000; len < 1030; len++) {
            char value[8192] = "", *text;
            size_t size = strlen(fillers[f]);
            json_t *line;
            for (size_t i = 0; i < len; i++)
                memcpy(value + i * size, fillers[f], size + 1);
            open_pipe(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
            log_info("m", LOG_S("a", value), LOG_S("b", value), LOG_S("c", value),
                     LOG_S("d", value), LOG_I("n", 1));
            text = finish();
            assert_true(strlen(text) <= PIPE_BUF && utf8_valid(text, strlen(text)));
            line = json_read(text, strlen(text), 0, NULL);
            assert_non_null(line);
            assert_non_null(json_object_get(line, "c"));
            assert_null(json_object_get(line, "n"));
            assert_int_equal(json_integer_value(json_object_get(line, "cut")), 1);
            json_decref(line);
        }
    }
}

static void drops_when_the_pipe_is_full(void **state)
{
    uint64_t before = log_dropped(), dropped;
    size_t lines = 0;
    char *text;

    (void)state;
    open_pipe(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    for (int i = 0; i < 5000; i++) /* a pipe holds 64 KiB */
        log_info("somebody stopped reading", LOG_I("i", i));
    dropped = log_dropped() - before;
    assert_true(dropped > 0 && dropped < 5000);
    text = finish();
    for (char *c = text; (c = strchr(c, '\n')); c++)
        lines++;
    assert_int_equal(lines, 5000 - dropped);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void drops_on_a_socket_that_is_full(void **state)
{
    uint64_t before = log_dropped();
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    redirect(fds, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    for (int i = 0; i < 20000; i++)
        log_info("somebody stopped reading", LOG_I("i", i));
    assert_true(log_dropped() > before);
    close(reader);
    reader = -1;
    before = log_dropped();
    log_info("and went away");
    assert_int_equal(log_dropped(), before + 1);
    finish();
}

static void survives_a_reader_that_went(void **state)
{
    uint64_t before = log_dropped();

    (void)state;
    open_pipe(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    close(reader);
    reader = -1;
    log_info("nobody is there");
    log_info("nobody is there");
    assert_int_equal(log_dropped(), before + 2);
    finish();
}

/* Without a stderr the next socket would become descriptor 2. */
static void keeps_closed_descriptors_taken(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        for (int fd = 0; fd <= STDERR_FILENO; fd++)
            close(fd);
        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        log_info("into nothing");
        _exit(socket(AF_UNIX, SOCK_STREAM, 0) > STDERR_FILENO ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void appends_to_a_file(void **state)
{
    char path[] = "/tmp/threadcast-log-XXXXXX", text[512];
    int fds[2] = {-1, mkstemp(path)};
    ssize_t n;

    (void)state;
    assert_true(fds[1] >= 0);
    assert_int_equal(write(fds[1], "kept\n", 5), 5);
    redirect(fds, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_info("one");
    log_info("two");
    finish();
    fds[0] = open(path, O_RDONLY);
    n = read(fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_memory_equal(text, "kept\n", 5);
    assert_non_null(strstr(text, " info one\n"));
    assert_non_null(strstr(text, " info two\n"));
    close(fds[0]);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text_lines),
        cmocka_unit_test(writes_json_lines),
        cmocka_unit_test(cuts_long_lines),
        cmocka_unit_test(drops_when_the_pipe_is_full),
        cmocka_unit_test(drops_on_a_socket_that_is_full),
        cmocka_unit_test(survives_a_reader_that_went),
        cmocka_unit_test(keeps_closed_descriptors_taken),
        cmocka_unit_test(appends_to_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
