/* A scripted peer on loopback says what no real Redis would: dribbles, stops in the
 * middle, talks nonsense, is too old. And a name server of the test's own. */
#include "common/redis.h"

#include "test_redis_probe.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RUN_ID "0123456789abcdef0123456789abcdef01234567"
#define INFO(version)                                                                    \
    "$86\r\n# Server\r\nredis_version:" version "\r\nx:y\r\nrun_id:" RUN_ID "\r\n\r\n"
#define HELLO INFO("7.0.15") "+PONG\r\n"

struct peer {
    struct evconnlistener *listener;
    struct bufferevent *bev; /* the latest connection */
    struct timer *dribble;
    int port;
    const char *script; /* sent when the first bytes have come */
    size_t sent;
    bool slowly;   /* a byte a turn */
    bool hangs_up; /* closes behind the script */
    bool deaf;     /* never reads */
    int accepted, reads;
    size_t bytes;
};

static void peer_hang_up(struct peer *peer)
{
    if (peer->bev)
        bufferevent_free(peer->bev);
    peer->bev = NULL;
}

static void on_dribble(void *arg)
{
    struct peer *peer = arg;

    if (peer->bev && peer->script[peer->sent]) {
        bufferevent_write(peer->bev, peer->script + peer->sent++, 1);
        timer_start(peer->dribble, 0);
    }
}

static void on_peer_written(struct bufferevent *bev, void *arg)
{
    struct peer *peer = arg;

    (void)bev;
    if (peer->hangs_up && peer->sent > 0)
        peer_hang_up(peer);
}

static void on_peer_read(struct bufferevent *bev, void *arg)
{
    struct peer *peer = arg;
    struct evbuffer *in = bufferevent_get_input(bev);

    peer->reads++;
    peer->bytes += evbuffer_get_length(in);
    evbuffer_drain(in, evbuffer_get_length(in));
    if (peer->sent > 0)
        return;
    if (peer->slowly) {
        timer_start(peer->dribble, 0);
    } else if (*peer->script) {
        peer->sent = strlen(peer->script);
        bufferevent_write(bev, peer->script, peer->sent);
    }
}

static void on_peer_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    (void)what;
    peer_hang_up(arg);
}

static void on_peer_accept(struct evconnlistener *l, evutil_socket_t fd,
                           struct sockaddr *a, int len, void *arg)
{
    struct peer *peer = arg;

    (void)a;
    (void)len;
    peer_hang_up(peer);
    peer->accepted++;
    peer->sent = 0;
    peer->bev =
        bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(peer->bev, on_peer_read, on_peer_written, on_peer_event, peer);
    bufferevent_enable(peer->bev, peer->deaf ? EV_WRITE : EV_READ | EV_WRITE);
}

static void peer_listen(struct peer *peer, struct loop *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    peer->listener = evconnlistener_new_bind(
        loop_base(l), on_peer_accept, peer, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
        16, (struct sockaddr *)&a, sizeof(a));
    assert_non_null(peer->listener);
    getsockname(evconnlistener_get_fd(peer->listener), (struct sockaddr *)&a, &len);
    peer->port = ntohs(a.sin_port);
    peer->dribble = timer_new(l, on_dribble, peer);
    assert_non_null(peer->dribble);
}

static void open_peer(struct probe *p, struct peer *peer, struct redis_options o)
{
    struct buf err;
    char url[64];

    memset(p, 0, sizeof(*p));
    buf_init(&err);
    p->loop = loop_new();
    assert_non_null(p->loop);
    peer_listen(peer, p->loop);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", peer->port);
    assert_true(redis_url_parse(url, &p->url, &err));
    o.url = &p->url;
    if (!o.backoff_ms)
        o.backoff_ms = 60;
    p->redis = redis_new(p->loop, &o, &probe_events, p);
}

struct peer_bytes {
    const struct peer *peer;
    size_t bytes;
};

static bool peer_has(void *arg)
{
    const struct peer_bytes *wanted = arg;

    return wanted->peer->bytes >= wanted->bytes;
}

/* Until the peer has read so much. */
static bool peer_wait(struct probe *p, const struct peer *peer, size_t bytes)
{
    struct peer_bytes wanted = {peer, bytes};

    return test_wait(p->loop, peer_has, &wanted, 20000);
}

static void close_peer(struct probe *p, struct peer *peer)
{
    redis_free(p->redis);
    peer_hang_up(peer);
    timer_free(peer->dribble);
    evconnlistener_free(peer->listener);
    p->redis = NULL;
    test_turns(p->loop, 3);
    loop_free(p->loop);
    redis_url_fini(&p->url);
}

static const struct {
    const char *script;
    bool hangs_up;
    const char *why;
} failures[] = {
    {"HTTP/1.1 400 Bad Request\r\n", false, "protocol: Protocol error"},
    {"", false, "no answer to the handshake"},
    {"$86\r\n# Server", true, "closed by Redis"},
    {INFO("6.2.13"), false, "Redis 6.2.13 is too old: 7.0 or newer is needed"},
    {"$8\r\n# Server\r\n+PONG\r\n", false, "INFO server: no run_id"},
    {"$33\r\nredis_version:7.0.1\r\nrun_id:xyz\r\n\r\n", false, "INFO server: no run_id"},
    {":1\r\n+PONG\r\n", false, "INFO server: no run_id"},
    {"-ERR unknown command 'INFO'\r\n", false, "INFO: ERR unknown command 'INFO'"},
    {"-DENIED \x1b[31mx\r\n", false, "INFO: DENIED ?[31mx"},
    {INFO("7.0.15") "-LOADING x\r\n", false, "PING: LOADING x"},
    {HELLO "+more\r\n", false, "protocol: an answer to nothing"},
    {HELLO "*1\r\n$99999999\r\n", false, "protocol: a reply is too large"},
    {HELLO, true, "closed by Redis"},
};

static void test_failures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        struct peer peer = {.script = failures[i].script,
                            .hangs_up = failures[i].hangs_up};
        struct probe p;
        print_message("%s\n", failures[i].why);
        open_peer(&p, &peer, (struct redis_options){.connect_ms = 300});
        assert_true(probe_wait(&p, &p.down, 2)); /* comes back, and again */
        assert_memory_equal(p.why, failures[i].why, strlen(failures[i].why));
        assert_int_equal(redis_counters(p.redis)->protocol >= 2,
                         strncmp(failures[i].why, "protocol", 8) == 0);
        close_peer(&p, &peer);
    }
}

static void test_dribble(void **state)
{
    struct peer peer = {.script = HELLO "$5\r\na\r\nbc\r\n*2\r\n:7\r\n$-1\r\n+x\r\n",
                        .slowly = true};
    struct probe p;

    (void)state;
    open_peer(&p, &peer, (struct redis_options){0});
    assert_true(probe_wait(&p, &p.ready, 1));
    assert_string_equal(redis_run_id(p.redis), RUN_ID);
    assert_string_equal(redis_version(p.redis), "7.0.15");
    for (int i = 0; i < 3; i++)
        assert_true(redis_sendv(p.redis, probe_reply, &p, "X", NULL));
    assert_true(probe_wait(&p, &p.replies, 3));
    assert_string_equal(p.reply, "x");
    close_peer(&p, &peer);
}

static void test_one_write(void **state)
{
    struct peer peer = {.script = HELLO};
    struct probe p;

    (void)state;
    open_peer(&p, &peer, (struct redis_options){.name = "n"});
    peer.script = "+OK\r\n" HELLO;
    assert_true(probe_wait(&p, &p.ready, 1));
    assert_int_equal(peer.reads, 1); /* the whole handshake */
    peer.bytes = 0;
    for (int i = 0; i < 50; i++)
        redis_sendv(p.redis, probe_reply, &p, "PING", NULL);
    assert_true(peer_wait(&p, &peer, 50 * 14));
    assert_int_equal(peer.reads, 2);
    close_peer(&p, &peer);
    assert_int_equal(p.nulls, 50);
}

/* The peer takes nothing any more: what waits is bounded, then nothing is accepted. */
static void test_output_limit(void **state)
{
    static char text[100000];
    struct peer peer = {.script = HELLO};
    struct probe p;
    int accepted = 0;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    open_peer(&p, &peer, (struct redis_options){.output_max = 1 << 20});
    assert_true(probe_wait(&p, &p.ready, 1));
    bufferevent_disable(peer.bev, EV_READ);
    while (redis_sendv(p.redis, probe_reply, &p, "SET", "a", text, NULL)) {
        test_turns(p.loop, 3);
        assert_true(++accepted < 300);
    }
    assert_true(accepted >= 9);
    assert_int_equal(redis_counters(p.redis)->refused, 1);
    bufferevent_enable(peer.bev, EV_READ);
    assert_true(peer_wait(&p, &peer, (size_t)accepted * 100000));
    assert_true(redis_sendv(p.redis, probe_reply, &p, "PING", NULL));
    close_peer(&p, &peer);
    assert_int_equal(p.nulls, accepted + 1);
}

static const char *const nonsense[] = {
    "+OK\r\n",
    "*1\r\n$7\r\nmessage\r\n",
    "*3\r\n$8\r\npmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
    "*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nb\r\n",
    "*3\r\n:1\r\n$1\r\na\r\n$1\r\nb\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n",
    "*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n",
    ("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:"
     "1\r\n"),
    "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n-ERR what\r\n",
};

static void test_nonsense(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
        struct peer peer = {.script = HELLO};
        struct probe p;
        open_peer(&p, &peer, (struct redis_options){.subscriber = true});
        assert_true(probe_wait(&p, &p.ready, 1));
        assert_true(redis_subscribe(p.redis, "c", 1));
        bufferevent_write(peer.bev, nonsense[i], strlen(nonsense[i]));
        assert_true(probe_wait(&p, &p.ready, 2));
        assert_int_equal(p.down, 1);
        assert_int_equal(p.messages, 0);
        assert_true(redis_counters(p.redis)->protocol == 1 ||
                    strcmp(p.why, "ERR what") == 0);
        close_peer(&p, &peer);
    }
}

/* --- names --- */

static void on_question(struct evdns_server_request *q, void *arg)
{
    int *asked = arg;

    ++*asked;
    for (int i = 0; i < q->nquestions; i++) {
        const char *name = q->questions[i]->name;
        uint32_t addresses[] = {htonl(INADDR_LOOPBACK + 1), htonl(INADDR_LOOPBACK)};
        if (strcmp(name, "silent.test") == 0) {
            evdns_server_request_drop(q);
            return;
        }
        if (q->questions[i]->type == EVDNS_TYPE_A && strcmp(name, "two.test") == 0)
            evdns_server_request_add_a_reply(q, name, 2, addresses, 10);
        else if (strcmp(name, "two.test") != 0) {
            evdns_server_request_respond(q, DNS_ERR_NOTEXIST);
            return;
        }
    }
    evdns_server_request_respond(q, 0);
}

static struct evdns_server_port *name_server(struct loop *l, int *asked)
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
    return evdns_add_server_port_with_base(loop_base(l), fd, 0, on_question, asked);
}

static void with_name(const char *name, bool gets_ready, const char *why)
{
    struct peer peer = {.script = HELLO};
    struct redis_options o = {.connect_ms = 500, .backoff_ms = 100};
    struct evdns_server_port *names;
    struct probe p = {0};
    char url[64];
    struct buf err;
    int asked = 0;

    buf_init(&err);
    p.loop = loop_new();
    assert_non_null(p.loop);
    names = name_server(p.loop, &asked);
    peer_listen(&peer, p.loop);
    snprintf(url, sizeof(url), "redis://%s:%d", name, peer.port);
    assert_true(redis_url_parse(url, &p.url, &err));
    o.url = &p.url;
    p.redis = redis_new(p.loop, &o, &probe_events, &p);
    if (gets_ready) {
        assert_true(probe_wait(&p, &p.ready, 1));
    } else {
        assert_true(probe_wait(&p, &p.down, 2));
        print_message("%s\n", p.why);
        assert_memory_equal(p.why, why, strlen(why));
    }
    assert_true(asked > 0);
    redis_free(p.redis);
    p.redis = NULL;
    test_turns(p.loop, 5);
    evdns_close_server_port(names);
    close_peer(&p, &peer);
}

static void test_names(void **state)
{
    (void)state;
    if (torture_is_on())
        return; /* libevent's name server, which only the test has, leaks then */
    with_name("two.test", true, NULL); /* 127.0.0.2 refuses, 127.0.0.1 does not */
    with_name("none.test", false, "resolve none.test: ");
    with_name("silent.test", false, "no connection for 500 ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),  cmocka_unit_test(test_dribble),
        cmocka_unit_test(test_one_write), cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_nonsense),  cmocka_unit_test(test_names),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
