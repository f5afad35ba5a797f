/* fetch: against a small server in the same loop that answers as the path says. */
#include "common/fetch.h"

#include "common/clock.h"
#include "common/loop.h"
#include "test_wait.h"
#include "unit.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <signal.h>
#include <unistd.h>

#define OVERDUE_MS 20000

/* Their side. */
static struct {
    struct evconnlistener *listener;
    struct bufferevent *open[32];
    size_t open_count;
    int port, accepted, asked;
    char request[4096]; /* the last one */
} server;

static struct loop *loop;
static struct fetcher *fetcher;

/* What one fetch got. */
struct got {
    int calls, status;
    size_t body_len;
    char body[256], why[256], kind[64];
    void (*then)(struct got *g);
    struct fetch *other; /* what it has: */
    const struct got *of_other;
    struct got *next;
};

static const char *canned(const char *path)
{
    static char text[200000];

    if (strstr(path, "/hello"))
        return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
               "5\r\n\r\nhello";
    if (!strncmp(path, "/moved", 6))
        return "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 4\r\n\r\ngone";
    if (!strncmp(path, "/empty", 6))
        return "HTTP/1.1 204 No Content\r\n\r\n";
    if (!strncmp(path, "/broken", 7))
        return "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n";
    if (!strncmp(path, "/large", 6))
        return "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n";
    if (!strncmp(path, "/cut", 4))
        return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 50\r\n\r\nhalf";
    if (!strncmp(path, "/garbage", 8))
        return "SSH-2.0-OpenSSH_9.2\r\n\r\n";
    if (!strncmp(path, "/chunks", 7)) { /* 10 bytes, with no length before them */
        return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\n"
               "fghij\r\n0\r\n\r\n";
    }
    if (!strncmp(path, "/headers", 8)) {
        int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
        for (int i = 0; i < 1000; i++)
            n += snprintf(text + n, sizeof(text) - (size_t)n, "X-More: %0100d\r\n", i);
        snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
        return text;
    }
    return NULL; /* silence */
}

static void on_request(struct bufferevent *bev, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(bev);
    size_t len = evbuffer_get_length(in), head;
    char path[64];
    const char *text, *length;

    (void)arg;
    if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0)
        return;
    if (len >= sizeof(server.request))
        len = sizeof(server.request) - 1;
    evbuffer_copyout(in, server.request, len);
    server.request[len] = '\0';
    length = strstr(server.request, "Content-Length: ");
    head = (size_t)(strstr(server.request, "\r\n\r\n") + 4 - server.request);
    if (length && len - head < (size_t)strtol(length + 16, NULL, 10))
        return;
    evbuffer_drain(in, len);
    server.asked++;
    assert_int_equal(sscanf(server.request, "%*s %63s", path), 1);
    text = canned(path);
    if (text)
        bufferevent_write(bev, text, strlen(text));
}

static void on_written(struct bufferevent *bev, void *arg)
{
    (void)arg;
    if (strstr(server.request, " /cut ")) /* all of it has left */
        shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr,
                      int len, void *arg)
{
    struct bufferevent *bev =
        bufferevent_socket_new(loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);

    (void)l, (void)addr, (void)len, (void)arg;
    assert_true(server.open_count < COUNT(server.open));
    server.open[server.open_count++] = bev;
    server.accepted++;
    bufferevent_setcb(bev, on_request, on_written, NULL, NULL);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static int setup(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct buf err;

    (void)state;
    memset(&server, 0, sizeof(server));
    loop = loop_new();
    server.listener =
        evconnlistener_new_bind(loop_base(loop), on_accept, NULL, LEV_OPT_CLOSE_ON_FREE,
                                64, (struct sockaddr *)&a, sizeof(a));
    assert_non_null(server.listener);
    getsockname(evconnlistener_get_fd(server.listener), (struct sockaddr *)&a, &len);
    server.port = ntohs(a.sin_port);
    buf_init(&err);
    fetcher = fetcher_new(loop, NULL, &err);
    buf_fini(&err);
    return fetcher ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    fetcher_free(fetcher);
    for (size_t i = 0; i < server.open_count; i++)
        bufferevent_free(server.open[i]);
    evconnlistener_free(server.listener);
    loop_free(loop);
    return 0;
}

static void on_answer(const struct fetch_answer *a, void *arg)
{
    struct got *g = arg;
    const char *kind = fetch_answer_header(a, "CONTENT-type");

    g->calls++;
    g->status = a->status;
    g->body_len = a->body_len;
    snprintf(g->body, sizeof(g->body), "%s", a->body);
    snprintf(g->why, sizeof(g->why), "%s", a->why);
    snprintf(g->kind, sizeof(g->kind), "%s", kind ? kind : "");
    if (g->then)
        g->then(g);
}

static const char *address(const char *path)
{
    static char texts[4][128];
    static unsigned next;
    char *text = texts[next++ % 4];

    snprintf(text, sizeof(texts[0]), "http://127.0.0.1:%d%s", server.port, path);
    return text;
}

static bool answered(void *arg)
{
    const struct got *g = arg;

    return g->calls > 0;
}

static bool was_asked(void *arg)
{
    return server.asked >= *(int *)arg;
}

static void get(const char *url, int64_t ms, size_t body_max, struct got *ret)
{
    struct fetch_request r = {.url = url, .total_ms = ms, .body_max = body_max};

    memset(ret, 0, sizeof(*ret));
    assert_non_null(fetch_start(fetcher, &r, on_answer, ret));
    assert_int_equal(ret->calls, 0); /* never from inside the call */
    assert_true(test_wait(loop, answered, ret, OVERDUE_MS));
    assert_int_equal(ret->calls, 1);
}

static void answers_come_whole(void **state)
{
    struct got g;

    (void)state;
    get(address("/hello"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "hello");
    assert_string_equal(g.kind, "text/plain");
    assert_string_equal(g.why, "");
    assert_true(!strncmp(server.request, "GET /hello HTTP/1.1\r\n", 21));
    get(address("/chunks"), OVERDUE_MS, 10, &g);
    assert_string_equal(g.body, "abcdefghij");
    get(address("/empty"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 204);
    assert_string_equal(g.body, "");
    get(address("/broken"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 503);
    assert_int_equal(server.accepted, 1); /* the connection was kept */
}

static void redirects_are_answers(void **state)
{
    struct got g;

    (void)state;
    get(address("/moved"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 302);
    assert_int_equal(server.asked, 1);
}

static void a_body_makes_it_a_post(void **state)
{
    const struct fetch_header headers[] = {
        {"Content-Type", "text/x"}, {"Cookie", "a=b; c"}, {"X-Empty", ""}};
    struct fetch_request r = {.url = address("/hello"),
                              .headers = headers,
                              .header_count = 3,
                              .body = "x\0y",
                              .body_len = 3,
                              .total_ms = OVERDUE_MS};
    struct got g = {0};

    (void)state;
    assert_non_null(fetch_start(fetcher, &r, on_answer, &g));
    assert_true(test_wait(loop, answered, &g, OVERDUE_MS));
    assert_int_equal(g.status, 200);
    assert_true(!strncmp(server.request, "POST /hello HTTP/1.1\r\n", 22));
    assert_non_null(strstr(server.request, "\r\nContent-Type: text/x\r\n"));
    assert_non_null(strstr(server.request, "\r\nCookie: a=b; c\r\n"));
    assert_non_null(strstr(server.request, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(server.request, "\r\nContent-Length: 3\r\n"));
    assert_null(strstr(server.request, "Expect"));
}

/* A value may be what a stranger sent: it must stay one value. */
static void headers_cannot_be_smuggled(void **state)
{
    static const struct fetch_header bad[] = {
        {"Cookie", "a\r\nX-Admin: 1"},
        {"Cookie", "a\nb"},
        {"Cookie", "a\x01"},
        {"A\r\nB", "x"},
        {"A: b\r\n", "x"},
        {"", "x"},
        {"A b", "x"},
        {"A;", "x"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct fetch_request r = {.url = address("/hello"),
                                  .headers = &bad[i],
                                  .header_count = 1,
                                  .total_ms = OVERDUE_MS};
        assert_null(fetch_start(fetcher, &r, on_answer, NULL));
    }
}

static void what_is_too_large_is_a_failure(void **state)
{
    struct got g;

    (void)state;
    get(address("/hello"), OVERDUE_MS, 4, &g);
    assert_int_equal(g.status, 0);
    assert_string_not_equal(g.why, "");
    get(address("/chunks"), OVERDUE_MS, 9, &g);
    assert_int_equal(g.status, 0);
    assert_string_equal(g.why, "the answer is larger than it may be");
    get(address("/large"), OVERDUE_MS, 0, &g); /* said to be larger than the default */
    assert_int_equal(g.status, 0);
    get(address("/headers"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 0);
    assert_string_equal(g.why, "the answer's headers are larger than they may be");
}

static void half_an_answer_is_none(void **state)
{
    struct got g;

    (void)state;
    get(address("/cut"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 0);
    assert_string_not_equal(g.why, "");
    get(address("/garbage"), OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 0);
    assert_string_not_equal(g.why, "");
}

static void silence_ends_in_time(void **state)
{
    struct got g;

    (void)state;
    get(address("/silent"), 50, 0, &g);
    assert_int_equal(g.status, 0);
    assert_string_not_equal(g.why, "");
    assert_null(strstr(g.why, "/silent"));
}

/* Bound, so that nobody else gets it, and never listening. */
static int dead_port(int *ret_fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static void nobody_there_is_a_failure(void **state)
{
    char url[64];
    struct got g;
    int fd, port = dead_port(&fd);

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    get(url, OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 0);
    assert_string_not_equal(g.why, "");
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/", port);
    get(url, OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 0);
    get("file:///etc/hostname", OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 0);
    assert_string_equal(g.body, "");
    close(fd);
}

static void a_cancelled_one_is_quiet(void **state)
{
    struct fetch_request r = {.url = address("/silent"), .total_ms = 50};
    struct got g = {0}, other;
    int one = 1;

    (void)state;
    fetch_cancel(NULL);
    fetch_cancel(fetch_start(fetcher, &r, on_answer, &g)); /* before anything happened */
    struct fetch *q = fetch_start(fetcher, &r, on_answer, &g);
    assert_non_null(q);
    assert_true(test_wait(loop, was_asked, &one, OVERDUE_MS));
    fetch_cancel(q);
    get(address("/silent"), 100, 0, &other); /* outlives its time */
    assert_int_equal(g.calls, 0);
    assert_non_null(fetch_start(fetcher, &r, on_answer, &g)); /* ends with the fetcher */
}

static void start_and_cancel(struct got *g)
{
    struct fetch_request r = {.url = address("/hello"), .total_ms = OVERDUE_MS};

    if (g->of_other->calls == 0) /* else there is none any more */
        fetch_cancel(g->other);
    assert_non_null(fetch_start(fetcher, &r, on_answer, g->next));
}

static void callbacks_may_start_and_cancel(void **state)
{
    struct fetch_request silent = {.url = address("/silent"), .total_ms = OVERDUE_MS};
    struct fetch_request r = {.url = address("/hello"), .total_ms = OVERDUE_MS};
    struct got never = {0}, second = {0};
    struct got first = {.then = start_and_cancel, .of_other = &never, .next = &second};

    (void)state;
    first.other = fetch_start(fetcher, &silent, on_answer, &never);
    assert_non_null(fetch_start(fetcher, &r, on_answer, &first));
    assert_true(test_wait(loop, answered, &second, OVERDUE_MS));
    assert_int_equal(second.status, 200);
    assert_int_equal(never.calls, 0);
}

static void many_at_once(void **state)
{
    static struct got all[24];
    struct fetch_request r = {.url = address("/hello"), .total_ms = OVERDUE_MS};

    (void)state;
    memset(all, 0, sizeof(all));
    for (size_t i = 0; i < COUNT(all); i++)
        assert_non_null(fetch_start(fetcher, &r, on_answer, &all[i]));
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_true(test_wait(loop, answered, &all[i], OVERDUE_MS));
        assert_int_equal(all[i].status, 200);
        assert_string_equal(all[i].body, "hello");
    }
}

/* Behind a company's proxy the environment says so, as for every other program. */
static void proxies_come_from_the_environment(void **state)
{
    struct got g;

    (void)state;
    setenv("http_proxy", address(""), 1);
    get("http://issuer.invalid/hello", OVERDUE_MS, 0, &g);
    assert_int_equal(g.status, 200);
    assert_true(
        !strncmp(server.request, "GET http://issuer.invalid/hello HTTP/1.1\r\n", 42));
    setenv("no_proxy", "127.0.0.1", 1);
    get(address("/hello"), OVERDUE_MS, 0, &g);
    assert_true(!strncmp(server.request, "GET /hello HTTP/1.1\r\n", 21));
    unsetenv("http_proxy");
    unsetenv("no_proxy");
}

static void urls_are_checked(void **state)
{
    static const char *const good[] = {"http://a", "https://a.example/x?y=z",
                                       "http://[::1]:8080/", "https://a:1/"};
    static const char *const bad[] = {
        "",           "a.example",   "//a/",        "file:///etc/passwd", "ftp://a/",
        "http://",    "http:///x",   "https://u@a", "https://u:p@a/",     "http://a/#x",
        "http://a b", "http://a:x/", "HTTP://a",    "http://a:99999/",    "http:a",
    };
    struct buf err;

    (void)state;
    buf_init(&err);
    for (size_t i = 0; i < COUNT(good); i++)
        if (!fetch_url_check(good[i], &err))
            fail_msg("%s: %s", good[i], err.data);
    assert_int_equal(err.len, 0);
    for (size_t i = 0; i < COUNT(bad); i++) {
        buf_clear(&err);
        if (fetch_url_check(bad[i], &err) || !err.len)
            fail_msg("%s is good?", bad[i]);
        assert_null(strstr(err.data, "u:p"));
    }
    buf_fini(&err);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        served(answers_come_whole),
        served(redirects_are_answers),
        served(a_body_makes_it_a_post),
        served(headers_cannot_be_smuggled),
        served(what_is_too_large_is_a_failure),
        served(half_an_answer_is_none),
        served(silence_ends_in_time),
        served(nobody_there_is_a_failure),
        served(a_cancelled_one_is_quiet),
        served(callbacks_may_start_and_cancel),
        served(many_at_once),
        served(proxies_come_from_the_environment),
        cmocka_unit_test(urls_are_checked),
    };

    signal(SIGPIPE, SIG_IGN); /* as a daemon's loop does */
    for (const char *const *name =
             (const char *const[]){"http_proxy", "https_proxy", "HTTPS_PROXY",
                                   "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
                                   NULL};
         *name; name++)
        unsetenv(*name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
