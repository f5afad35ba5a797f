/* Every Nth allocation of ours fails while a connection is served (the linker wraps
 * malloc and its kin): that connection may be closed, but never hangs, never gets half an
 * answer or a wrong one, and the next is served. */
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/limits.h"
#include "bridge/metrics.h"
#include "bridge/reactors.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 5000

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static long fail_at; /* counting down; 0: none fails */

static bool fails(void)
{
    return fail_at && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

static struct bridge_conf conf = {.hang_ms = 60000,
                                  .request_timeout_ms = 60000,
                                  .idle_timeout_ms = 60000,
                                  .write_stall_ms = 60000,
                                  .max_connections = 10};
static struct bridge bridge, *only[] = {&bridge};
static struct report report;
static struct reactors reactors = {.conf = &conf,
                                   .reports = &report,
                                   .all = only,
                                   .count = 1,
                                   .lock = PTHREAD_MUTEX_INITIALIZER};
static struct timer *tick;

/* What the other end has. */
static int fd;
static char got[65536];
static size_t got_len;
static bool closed;
static int64_t until_ms;

static void on_tick(void *arg)
{
    ssize_t n;

    (void)arg;
    while ((n = recv(fd, got + got_len, sizeof got - 1 - got_len, 0)) > 0)
        got_len += (size_t)n;
    closed = closed || n == 0 || (n < 0 && errno != EAGAIN);
    if (closed || clock_ms() > until_ms)
        loop_stop(bridge.loop);
    else
        timer_start(tick, 1);
}

/* Sends all of it with the nth allocation failing; runs until we are closed. */
static void serve(const char *text, long nth)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNIX};
    int fds[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), errno);
    fd = fds[0];
    got_len = 0;
    closed = false;
    until_ms = clock_ms() + PATIENCE_MS;
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    fail_at = nth;
    conn_accept(&bridge, fds[1], &nobody, sizeof nobody, false);
    timer_start(tick, 0);
    loop_run(bridge.loop);
    close(fd);
    got[got_len] = '\0';
    assert_true(closed);
}

#define H "Host: localhost\r\n"
static const char asked[] = "POST /healthz HTTP/1.1\r\n" H
                            "Origin: http://localhost\r\nContent-Length: 4\r\n\r\n{}{}"
                            "GET /metrics HTTP/1.1\r\n" H "\r\n"
                            "GET /%zz HTTP/1.1\r\n" H "\r\n";

/* A whole answer with one of these statuses, or nothing. */
static const char *whole_answer(const char *at, const char *statuses)
{
    char status[5] = {0};
    const char *body = strstr(at, "\r\n\r\n"), *length = strstr(at, "Content-Length: ");

    assert_memory_equal(at, "HTTP/1.1 ", 9);
    memcpy(status, at + 9, 4);
    if (!strstr(statuses, status))
        fail_msg("not one of %s: %s", statuses, at);
    assert_true(body && length && length < body);
    body += 4 + strtoul(length + 16, NULL, 10);
    assert_true(body <= got + got_len);
    return body;
}

static void test_each_failure(void **state)
{
    long n = 1;

    (void)state;
    for (bool ran_out = false; !ran_out; n++) {
        serve(asked, n);
        ran_out = fail_at > 0; /* so many there are not */
        fail_at = 0;
        const char *at = got;
        if (*at)
            at = whole_answer(at, "405 503 ");
        if (*at)
            at = whole_answer(at, "200 503 ");
        if (*at)
            at = whole_answer(at, "400 ");
        assert_int_equal(*at, 0);
        serve("GET /healthz HTTP/1.0\r\n\r\n", 0);
        assert_non_null(strstr(got, "\r\n\r\nok\n"));
    }
    assert_true(n > 10);
    conns_fini(&bridge); /* those that wait for our FIN */
    assert_int_equal(bridge.conn_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_failure)};
    int failed;

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    bridge = (struct bridge){.reactors = &reactors,
                             .conf = &conf,
                             .limits = limits_new(&conf, 0),
                             .loop = loop_new()};
    conns_init(&bridge);
    tick = timer_new(bridge.loop, on_tick, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    timer_free(tick);
    loop_free(bridge.loop);
    limits_free(bridge.limits);
    return failed;
}
