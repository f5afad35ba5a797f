/* fuzz_request: whole requests with their bodies through the real routes, without
 * sockets: conn.c is left out, Redis is never there, and Postgres is this file. The first
 * byte says who asks and what Postgres answers, the rest is the request as it comes over
 * the wire. Every request is answered once, with a status that its route may give and
 * JSON that can be read; what jansson cannot read as an object is never accepted as a
 * body. */
#include "fuzz.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/conn.h"
#include "bridge/feed.h"
#include "bridge/hub.h"
#include "bridge/limits.h"
#include "bridge/metrics.h"
#include "bridge/publisher.h"
#include "bridge/reactors.h"
#include "bridge/reader.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"

#include <jansson.h>
#include <libpq-fe.h>

enum { QUERIES_MAX = 64 };

/* Questions to Postgres; answered when the route has returned, as a loop would do it. */
static struct {
    pg_fn *fn[QUERIES_MAX];
    void *arg[QUERIES_MAX];
    bool owner[QUERIES_MAX]; /* the question is whose the thread is */
    size_t count;
    uint8_t mood; /* what it answers; 0x80: that the thread is theirs */
} pg;

static struct {
    int count, status;
    bool detached;
    struct buf text;
} answer;

static struct bridge_conf conf;
static struct bridge *bridge;
static struct auth *strict_auth, *open_auth;
static struct buf guest_token; /* "Bearer …" */

/* --- what stands in for Postgres and the connection --------------------------------- */

bool pg_pool_query(struct pg_pool *pool, const char *sql, int nparams,
                   const char *const *params, int64_t deadline_ms, pg_fn *fn, void *arg)
{
    (void)pool, (void)nparams, (void)params, (void)deadline_ms;
    if ((pg.mood & 3) == 3 || pg.count == QUERIES_MAX)
        return false;
    pg.owner[pg.count] = strncmp(sql, "SELECT owner", 12) == 0;
    pg.fn[pg.count] = fn;
    pg.arg[pg.count++] = arg;
    return true;
}

bool pg_pool_ready(const struct pg_pool *pool)
{
    (void)pool;
    return pg.mood & 1;
}

void pg_pool_counters(const struct pg_pool *pool, struct pg_counters *ret_sum)
{
    (void)pool;
    *ret_sum = (struct pg_counters){0};
}

static void pg_say_yes(pg_fn *fn, void *arg)
{
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc column = {.name = "owner", .typid = 16, .typlen = 1, .atttypmod = -1};

    MUST(res && PQsetResultAttrs(res, 1, &column) &&
         PQsetvalue(res, 0, 0, (char[]){"t"}, 1));
    fn(PG_OK, (const struct pg_result *)res, NULL, arg);
    PQclear(res);
}

/* What is asked meanwhile is answered, too. */
static void pg_answer_all(void)
{
    static const char *const states[] = {"22P02", "23505", "40001", "XX000"};

    for (size_t i = 0; i < pg.count; i++) {
        if (pg.owner[i] && (pg.mood & 0x80)) {
            pg_say_yes(pg.fn[i], pg.arg[i]);
            continue;
        }
        struct pg_error err = {.message = "said by the target"};
        memcpy(err.sqlstate, states[(pg.mood >> 2) & 3], 6);
        enum pg_outcome outcome = (pg.mood & 3) == 0   ? PG_FAILED
                                  : (pg.mood & 3) == 1 ? PG_LOST
                                                       : PG_UNSENT;
        pg.fn[i](outcome, NULL, &err, pg.arg[i]);
    }
    pg.count = 0;
}

void conn_respond(struct conn *c, const struct request *r, const char *data, size_t len)
{
    (void)c, (void)r;
    answer.count++;
    buf_add(&answer.text, data, len);
}

int conn_detach(struct request *r)
{
    answer.detached = true;
    r->conn = NULL;
    return -1;
}

/* One reactor: nothing moves. */
bool conn_movable(const struct request *r)
{
    return r->conn != NULL;
}

bool conn_move(struct request *r, struct bridge *to, uint32_t place)
{
    (void)r, (void)to, (void)place;
    abort();
}

const char *conn_address(const struct conn *c)
{
    (void)c;
    return "127.0.0.1";
}

/* --- the bridge -----------------------------------------------------------------------
 */

static struct report report;
static struct reactors reactors = {
    .conf = &conf, .reports = &report, .count = 1, .lock = PTHREAD_MUTEX_INITIALIZER};

int reactors_hanging(const struct reactors *rs)
{
    (void)rs;
    return -1;
}

static void make_bridge(void)
{
    char *argv[] = {"threadcast-bridge",
                    "--redis-url",
                    "unix:///nowhere",
                    "--demo",
                    "--public-origin=https://app.example",
                    "--allow-query-token",
                    "--trusted-proxies=127.0.0.1",
                    NULL};
    char *envp[] = {"JWT_SECRET=0123456789abcdef0123456789abcdef",
                    "DATABASE_URL=postgres:///x", NULL};
    struct buf err;

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    buf_init(&err);
    MUST(conf_load(&bridge_conf_spec, &conf, 7, argv, envp, NULL, bridge_conf_validate) ==
         CONF_RUN);
    bridge = calloc(1, sizeof(*bridge));
    MUST(bridge);
    bridge->conf = &conf;
    bridge->reactors = &reactors;
    reactors.all = &bridge;
    list_init(&bridge->forgetting);
    list_init(&bridge->conns);
    list_init(&bridge->conns_dead);
    bridge->loop = loop_new();
    strict_auth = auth_new(&conf, &err);
    struct bridge_conf none = conf;
    none.auth = AUTH_MODE_NONE;
    open_auth = auth_new(&none, &err);
    buf_str(&guest_token, "Bearer ");
    MUST(strict_auth && open_auth &&
         auth_guest(strict_auth, "ann", clock_wall_ms(), INT64_MAX / 2000, &guest_token));
    bridge->clients = clients_new(bridge);
    bridge->hub = hub_new(bridge);
    bridge->reader = reader_new(bridge);
    bridge->feed = feed_new(bridge);
    bridge->publisher = publisher_new(bridge);
    MUST(bridge->clients && bridge->hub && bridge->reader && bridge->publisher);
}

/* --- what must hold -------------------------------------------------------------------
 */

static bool known_status(int status)
{
    static const int all[] = {200, 201, 202, 204, 400, 401, 403, 404,
                              405, 409, 413, 415, 429, 500, 501, 503};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] == status)
            return true;
    return false;
}

static void check_error(const char *body)
{
    json_t *root = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    const char *code, *message;

    MUST(root && json_unpack(root, "{s:{s:s, s:s}}", "error", "code", &code, "message",
                             &message) == 0);
    MUST(*code && *message);
    json_decref(root);
}

static void check_answer(const struct http_request *http)
{
    const char *body, *length;

    if (answer.detached) {
        MUST(answer.count == 0);
        return;
    }
    MUST(answer.count == 1 && answer.text.len > 0);
    MUST(sscanf(answer.text.data, "HTTP/1.1 %d ", &answer.status) == 1);
    MUST(known_status(answer.status));
    /* 500 is for what Postgres says that nobody expects */
    MUST(answer.status != 500 || ((pg.mood >> 2) & 3) % 2 == 1);
    body = strstr(answer.text.data, "\r\n\r\n");
    MUST(body);
    body += 4;
    length = strstr(answer.text.data, "\r\nContent-Length: ");
    if (length && length < body && http->method != HTTP_HEAD)
        MUST(strtoul(length + 18, NULL, 10) == strlen(body));
    if (answer.status >= 400 && http->method != HTTP_HEAD &&
        http->method != HTTP_OPTIONS && !strstr(body, "\"ready\""))
        check_error(body);
}

/* Nothing that cannot be read was taken for a body. */
static void check_refused(const struct request *r, const char *body, size_t len)
{
    bool posts = r->http.method == HTTP_POST && len > 0;
    json_t *value =
        json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);

    if (posts && !value && memmem(r->http.path.at, r->http.path.len, "/messages", 9))
        MUST(answer.status >= 400);
    if (posts && !value && memmem(r->http.path.at, r->http.path.len, "/tickets", 8))
        MUST(answer.status >= 400);
    json_decref(value);
}

/* The rest of the world, anybody who may do everything, or a guest who owns threads. */
static void ask_as(struct request *r, uint8_t who)
{
    bool has_room = r->http.header_count < HTTP_HEADERS_MAX;

    bridge->auth = who & 0x40 ? open_auth : strict_auth;
    if ((who & 0x20) && has_room && !http_header(&r->http, "authorization").at)
        r->http.headers[r->http.header_count++] = (struct http_header){
            {"Authorization", 13}, {guest_token.data, guest_token.len}};
}

static void run(uint8_t first, const char *text, size_t len)
{
    struct http_refusal why;
    size_t scan = 0, head = 0;
    struct request *r = request_new(bridge, (struct conn *)&answer);

    MUST(r);
    if (http_read(text, len, &scan, &r->http, &head, &why) == HTTP_DONE) {
        char *body = fuzz_copy((struct span){text + head, len - head});
        ask_as(r, first);
        r->body = body;
        r->body_len = len - head < HTTP_BODY_MAX ? len - head : HTTP_BODY_MAX;
        body[r->body_len] = '\0';
        bridge->pg = first & 0x10 ? (struct pg_pool *)&pg : NULL;
        routes_dispatch(r);
        pg_answer_all();
        check_answer(&r->http);
        check_refused(r, body, r->body_len);
        MUST(r->refs == 1);
    }
    request_unref(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    if (!bridge)
        make_bridge();
    bridge->limits = limits_new(&conf, 0);
    MUST(bridge->limits);
    pg.count = 0;
    pg.mood = fuzz_byte(&in);
    answer.count = answer.status = 0;
    answer.detached = false;
    buf_init(&answer.text);
    char *copy = fuzz_copy((struct span){(const char *)in.at, in.len});
    run(pg.mood, copy, in.len);
    free(copy);
    buf_fini(&answer.text);
    limits_free(bridge->limits);
    bridge->limits = NULL;
    return 0;
}
