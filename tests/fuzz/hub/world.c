/* world: the bridge's core as bridge.c puts it together, with what it would have around
 * it: Postgres (access_check), the publisher, HTTP. */
#include "world.h"

#include "../fuzz.h"

#include "bridge/access.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/conn.h"
#include "bridge/feed.h"
#include "bridge/forgotten.h"
#include "bridge/gather.h"
#include "bridge/hub.h"
#include "bridge/limits.h"
#include "bridge/publisher.h"
#include "bridge/reactors.h"
#include "bridge/reader.h"
#include "bridge/request.h"
#include "bridge/stream.h"
#include "bridge/watch.h"
#include "common/log.h"
#include "common/strmap.h"
#include "host.h"
#include "redis_model.h"

enum {
    QUEUE_BYTES = 2500,
    QUESTIONS_MAX = 64,
    TURN_BYTES = 4 << 20, /* client.c: shared bytes beyond the limit, until the write */
    MERGE_BYTES = 5000,   /* sse.c: the largest that merging makes of two */
};

static const struct bridge_conf conf = {
    .redis_prefix = "",
    .keepalive_ms = 5000,
    .retry_ms = 1000,
    .client_queue_bytes = QUEUE_BYTES,
    .client_merge_percent = 20,
    .max_clients = HOST_SOCKETS,
    .max_threads_per_stream = 32,
    .worker_lease_ms = 3000,
    .write_stall_ms = 20000,
    .replay_page = 40,
    .replay_concurrency = 2,
    .cursor_concurrency = 2,
    .verify_ms = 8000,
    .upstream_timeout_ms = 1000,
};

struct bridge bridge;
struct world world;
static struct reactors reactors = {.conf = &conf, .count = 1};
/* may read everything; ownership is asked about */
static struct identity ann = {
    .refs = 1, .expires_ms = INT64_MAX, .life_ms = 1000, .sub = "ann"};

/* --- what stands in for Postgres, the publisher and HTTP ------------------------------
 */

static struct {
    access_fn *fn;
    void *arg;
} questions[QUESTIONS_MAX];
static int question_count;

void access_check(struct bridge *b, struct identity *id, const char *thread_id,
                  enum access_kind kind, access_fn *fn, void *arg)
{
    (void)b, (void)id, (void)thread_id, (void)kind;
    if (question_count == QUESTIONS_MAX) {
        fn(ACCESS_UNKNOWN, arg);
        return;
    }
    questions[question_count].fn = fn;
    questions[question_count++].arg = arg;
}

void world_answer_questions(enum access_result result)
{
    for (int left = question_count; left > 0; left--) {
        access_fn *fn = questions[0].fn;
        void *arg = questions[0].arg;
        memmove(questions, questions + 1,
                sizeof(questions[0]) * (size_t)--question_count);
        fn(result, arg);
    }
}

void forgotten_ask(struct topic *t, const struct live_run *runs, size_t count)
{
    (void)t, (void)runs, (void)count; /* Postgres has forgotten nothing */
}

bool publisher_ready(const struct publisher *p)
{
    (void)p;
    return world.publisher_up;
}

void publisher_hint(struct publisher *p, const char *channel, const char *json)
{
    (void)p;
    redis_model_publish(channel, json, strlen(json)); /* the canary */
}

void publisher_end(struct publisher *p, const char *thread_id, const struct live_run *run,
                   struct span event, publish_fn *fn, void *arg)
{
    (void)p, (void)thread_id, (void)run, (void)event, (void)fn, (void)arg;
    MUST(!"no run here is without a row in Postgres");
}

static int opening; /* the socket that conn_detach hands over */

int conn_detach(struct request *r)
{
    r->conn = NULL;
    host.sockets[opening].used = true;
    return HOST_FD + opening;
}

const char *conn_address(const struct conn *c)
{
    (void)c;
    return "127.0.0.1";
}

void conn_respond(struct conn *c, const struct request *r, const char *data, size_t len)
{
    (void)c, (void)r, (void)data, (void)len; /* a refusal */
}

/* --- streams ---------------------------------------------------------------------------
 */

static void on_bytes(int socket, const char *bytes, size_t len)
{
    follow_bytes(&world.follows[socket], bytes, len);
}

static void on_close(int socket)
{
    follow_end(&world.follows[socket]);
}

static int free_socket(void)
{
    for (int i = 0; i < HOST_SOCKETS; i++)
        if (!host.sockets[i].used)
            return i;
    return -1;
}

static void plan_threads(struct stream_plan *plan, const struct follow *f)
{
    plan->count = (size_t)f->count;
    plan->merge = f->merge;
    for (int i = 0; i < f->count; i++)
        snprintf(plan->threads[i].thread_id, sizeof(plan->threads[i].thread_id), "%s",
                 truth.threads[f->threads[i]].name);
    if (f->run >= 0)
        truth_run_id(f->run, plan->run_id);
}

/* As a route opens it; `follow` says what is asked for. */
void world_open_follow(const struct follow *asked, const char *since, bool http10)
{
    int socket = free_socket();
    struct stream_plan *plan;
    struct request *r;

    if (socket < 0)
        return;
    struct follow *f = &world.follows[socket];
    *f = *asked;
    f->socket = opening = socket;
    f->last_id[0] = '\0';
    f->alone = redis_model_idle();
    host.sockets[socket] =
        (struct host_socket){.on_bytes = on_bytes, .on_close = on_close};
    host.safe++;
    follow_begin(f, since);
    r = request_new(&bridge, (struct conn *)&opening);
    r->identity = identity_ref(&ann);
    r->http.minor = !http10;
    if (*since)
        r->http.headers[r->http.header_count++] =
            (struct http_header){{"Last-Event-ID", 13}, {since, strlen(since)}};
    if (f->since_now)
        r->http.query = (struct span){"since=now", 9};
    plan = stream_plan_new(r);
    host.safe--;
    plan_threads(plan, f);
    stream_positions(plan);
    plan->threads[0].by_owner = true;
    plan->owner_changes = bridge.owner_changes;
    stream_open(plan);
    request_unref(r);
}

/* --- what must hold at every step ------------------------------------------------- */

static void check_client(const struct client *c)
{
    struct iovec iov[1024];
    size_t bytes = 0;
    int n = outbuf_iov(&c->out, iov, 1024);

    for (int i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    MUST((uint32_t)n != c->out.count || bytes == c->out.bytes);
    MUST(c->out.live <= c->out.bytes && !c->closed);
    /* live bytes: a queue of one may be larger; replayed ones are a page and a bit */
    MUST(c->out.count <= 1 || c->out.live <= QUEUE_BYTES + MERGE_BYTES ||
         (c->over && list_linked(&c->dirty)));
    MUST(c->out.bytes - c->out.live <= 400u << 10);
}

static void check_lists(void)
{
    size_t streams = 0, sockets = 0, live = 0;

    LIST_EACH(node, next, &bridge.clients->all) {
        check_client(LIST_ITEM(node, struct client, node));
        streams++;
    }
    for (int i = 0; i < HOST_SOCKETS; i++)
        sockets += host.sockets[i].used;
    streams += bridge.clients->dying;
    MUST(streams == sockets && streams == bridge.stats.clients);
    struct topic *t;
    size_t pos = 0;
    while ((t = strmap_next(bridge.hub->topics, &pos, NULL))) {
        size_t joined = 0;
        LIST_EACH(node, next, &t->subs)
            joined += LIST_ITEM(node, struct sub, node)->state >= SUB_AHEAD;
        MUST(joined == t->live);
        live++;
    }
    MUST(live == bridge.stats.topics && live <= TRUTH_THREADS);
}

void world_turn(void)
{
    redis_model_settle();
    clients_flush(bridge.clients);
    reaper_run(bridge.clients, 1); /* so that others wait */
    check_lists();
}

/* --- from the beginning to the end ------------------------------------------------ */

void world_begin(void)
{
    host_init();
    truth_init();
    redis_model_init();
    memset(world.follows, 0, sizeof(world.follows));
    ann.refs = 1;
    world.owner = world.publisher_up = true;
    world.lost_messages = question_count = 0;
    bridge = (struct bridge){.conf = &conf,
                             .reactors = &reactors,
                             .limits = limits_new(&conf, 0),
                             .gather = gather_new(1, 1)};
    MUST(bridge.limits && bridge.gather && (bridge.clients = clients_new(&bridge)) &&
         (bridge.hub = hub_new(&bridge)) && (bridge.reader = reader_new(&bridge)) &&
         (bridge.feed = feed_new(&bridge)) && (bridge.watch = watch_new(&bridge)));
    bridge.clients->late_most = 1;
}

/* Nothing is lost, refused or late any more. */
static void settle(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        redis_model_up(ROLE_FEED);
        redis_model_up(ROLE_READER);
        world_answer_questions(ACCESS_OWNER);
        for (int s = 0; s < HOST_SOCKETS; s++)
            if (host.sockets[s].used) {
                host.sockets[s].room = 1 << 20;
                host_writable(s);
            }
        world_turn();
        while (redis_model_deliver(ROLE_FEED) || redis_model_deliver(ROLE_READER))
            world_turn();
        if (i + 1 < rounds)
            host_advance(250, world_turn);
    }
}

static void check_all(bool positions)
{
    for (int i = 0; i < HOST_SOCKETS; i++)
        if (host.sockets[i].used)
            follow_check_all(&world.follows[i], positions);
}

void world_end(void)
{
    host.fail_count = 0;
    redis_model_refuse(0);
    world.owner = world.publisher_up = true;
    settle(4); /* before watch.c looks for itself, a second after anything is opened */
    if (!world.lost_messages && !host.refused) /* else watch.c finds out, a while later */
        check_all(false);
    settle(60);
    check_all(true);
    MUST(redis_model_hears("threadcast:canary:"));
    watch_free(bridge.watch);
    reader_close(bridge.reader);
    world_answer_questions(ACCESS_UNKNOWN);
    clients_free(bridge.clients);
    feed_free(bridge.feed);
    hub_free(bridge.hub);
    reader_free(bridge.reader);
    limits_free(bridge.limits);
    for (int i = 0; i < TRUTH_THREADS; i++) { /* whoever came has left */
        const char *name = truth.threads[i].name;
        uint32_t place = gather_place(bridge.gather, name, strlen(name));
        MUST(gather_admit(bridge.gather, place));
        gather_left(bridge.gather, place);
    }
    gather_free(bridge.gather);
    for (int i = 0; i < HOST_SOCKETS; i++)
        MUST(!host.sockets[i].used);
    MUST(ann.refs == 1 && host.allocated == 0);
}
