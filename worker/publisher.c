/* publisher: calls of publish.lua over a few connections.
 *
 *   publish_start ─▶ waiting ──connection proven──▶ sent ──answer──▶ fn
 *                       ▲                            │
 *                       └── connection lost, error ──┘   (same call, unchanged)
 *
 * A connection is proven when the script is loaded and a canary was published: PUBLISH
 * is what an ACL forbids most easily, and everything else would look well then.
 * It must never decide what a run does about LOST or GAP. */
#include "worker/publisher.h"

#include "common/log.h"
#include "common/loop.h"
#include "common/redis.h"
#include "publish_lua.h"
#include "worker/conf.h"
#include "worker/recall.h"
#include "worker/worker.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIXED_ARGS = 3 + 2 + 11, RETRY_MAX_MS = 1000 };

struct publish_call {
    struct list node;
    struct publisher *at;
    struct publish_order order;
    struct batch batch;
    publish_fn *fn; /* NULL: cancelled */
    void *arg;
    bool sent;
    struct timer *retry;
    struct backoff backoff;
};

struct publisher {
    struct publishers *all;
    struct redis *redis;
    bool proven, loading;
    bool warned;  /* that it cannot be had, since it last was */
    bool refused; /* and that it is there, and does not want us */
    struct list calls;
};

struct publishers {
    struct worker *w;
    unsigned count, next;
    char sha[41];
    char canary[NAMES_PREFIX_MAX + 64];
    struct publisher item[];
};

static const char *const mode_names[] = {
    [PUBLISH_BEGIN] = "begin",     [PUBLISH_MORE] = "publish",
    [PUBLISH_END] = "end",         [PUBLISH_BEGIN_END] = "beginend",
    [PUBLISH_OUTSIDE] = "outside",
};

static void prove(struct publisher *p);
static void call_send(struct publish_call *c);

/* --- one call --------------------------------------------------------------------- */

static void call_free(struct publish_call *c)
{
    list_remove(&c->node);
    batch_fini(&c->batch);
    timer_free(c->retry);
    free(c);
}

static void call_again(struct publish_call *c)
{
    timer_start(c->retry, backoff_next(&c->backoff, RETRY_MAX_MS));
}

static void on_retry(void *arg)
{
    call_send(arg);
}

/* Error replies by name; "other" is the last. */
static void count_error(struct worker *w, const char *error)
{
    size_t len = strcspn(error, " ");

    for (size_t i = 0; i < WORKER_REDIS_ERRORS; i++) {
        const char *name = worker_redis_errors[i];
        if (!name || (strlen(name) == len && memcmp(name, error, len) == 0)) {
            w->stats.redis_errors[i]++;
            return;
        }
    }
}

static void call_failed(struct publish_call *c, const struct redis_reply *reply)
{
    struct publisher *p = c->at;
    struct worker *w = p->all->w;

    count_error(w, reply->str);
    c->sent = false;
    if (redis_is_error(reply, "NOSCRIPT") && !p->loading)
        prove(p); /* which sends it again */
    if (!c->fn) {
        call_free(c);
        return;
    }
    if (redis_is_error(reply, "NOSCRIPT"))
        return;
    if (c->backoff.attempts == 0)
        log_warn("redis refuses", LOG_S("thread", c->order.thread_id),
                 LOG_S("run", c->order.run_id), LOG_S("why", reply->str));
    /* a demoted master: the name may lead to the new one by now */
    if (redis_is_error(reply, "READONLY") && c->backoff.attempts >= 2)
        redis_drop(p->redis, "it is a read-only replica");
    call_again(c);
}

/* false: no answer of the script's. */
static bool read_answer(const struct redis_reply *reply, struct publish_answer *ret)
{
    static const struct {
        const char *name;
        enum publish_result result;
    } names[] = {{"OK", PUBLISH_OK},       {"FENCED", PUBLISH_FENCED},
                 {"ENDED", PUBLISH_ENDED}, {"LOST", PUBLISH_LOST},
                 {"GAP", PUBLISH_GAP},     {"TAKEN", PUBLISH_TAKEN}};
    size_t i = 0;

    if (reply->type != REDIS_ARRAY || reply->count == 0 ||
        reply->items[0]->type != REDIS_STRING)
        return false;
    while (i < sizeof(names) / sizeof(names[0]) &&
           strcmp(reply->items[0]->str, names[i].name) != 0)
        i++;
    if (i == sizeof(names) / sizeof(names[0]))
        return false;
    ret->result = names[i].result;
    if (ret->result == PUBLISH_OK && reply->count >= 3) {
        event_id_parse(reply->items[1]->str, reply->items[1]->len, &ret->first);
        event_id_parse(reply->items[2]->str, reply->items[2]->len, &ret->last);
    }
    return true;
}

static void call_answered(struct publish_call *c, const struct publish_answer *answer)
{
    publish_fn *fn = c->fn;
    void *arg = c->arg;

    c->at->all->w->stats.publish_results[answer->result]++;
    if (fn && answer->result == PUBLISH_OK)
        c->at->all->w->stats.events += c->batch.count;
    call_free(c);
    if (fn)
        fn(answer, arg);
}

/* With a thread of a later version's the run waits: a worker of that one gets it when we
 * are told to leave. */
static bool is_permanent(const struct redis_reply *reply)
{
    return redis_is_error(reply, "THREADCAST") && !strstr(reply->str, " wrongtype ") &&
           !strstr(reply->str, " epoch ") && !strstr(reply->str, " layout ");
}

/* Carried out or not, the script will know when it is asked again. */
static void call_lost(struct publish_call *c)
{
    c->sent = false;
    if (!c->fn)
        call_free(c);
}

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct publish_call *c = arg;
    struct publish_answer answer = {.result = PUBLISH_REFUSED};

    if (!reply) {
        call_lost(c);
        return;
    }
    if (reply->type == REDIS_FAILURE && !is_permanent(reply)) {
        call_failed(c, reply);
        return;
    }
    if (reply->type == REDIS_FAILURE) {
        log_error("redis refuses for good", LOG_S("run", c->order.run_id),
                  LOG_S("why", reply->str));
    } else if (!read_answer(reply, &answer)) {
        /* nor will the next ones be those to their calls */
        redis_drop(r, "an answer that the script does not give");
        call_lost(c);
        return;
    }
    call_answered(c, &answer);
}

struct arguments {
    int count;
    const char **argv;
    size_t *lens;
};

static void arg_add(struct arguments *a, const char *s, size_t len)
{
    a->argv[a->count] = s;
    a->lens[a->count] = len;
    a->count++;
}

static void arg_str(struct arguments *a, const char *s)
{
    arg_add(a, s, strlen(s));
}

static const char *number(char out[24], int64_t value)
{
    snprintf(out, 24, "%lld", (long long)value);
    return out;
}

static bool send_arguments(struct publish_call *c, struct arguments *a)
{
    const struct publish_order *o = &c->order;
    const struct publishers *ps = c->at->all;
    const struct worker_conf *conf = ps->w->conf;
    char log[NAMES_KEY_SIZE], state[NAMES_KEY_SIZE], channel[NAMES_KEY_SIZE];
    char n[5][24];
    size_t from = 0;

    names_log(log, conf->redis_prefix, o->thread_id);
    names_state(state, conf->redis_prefix, o->thread_id);
    names_channel(channel, conf->redis_prefix, o->thread_id);
    const char *const head[] = {"EVALSHA",
                                ps->sha,
                                "2",
                                log,
                                state,
                                "1",
                                mode_names[o->mode],
                                channel,
                                number(n[0], conf->history_max_events),
                                number(n[1], conf->history_max_bytes),
                                number(n[2], conf->history_ttl_s),
                                redis_run_id(c->at->redis),
                                o->run_id,
                                number(n[3], o->attempt),
                                number(n[4], o->number),
                                o->mode == PUBLISH_OUTSIDE ? "" : ps->w->instance};
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        arg_str(a, head[i]);
    for (size_t i = 0; i < c->batch.count; i++) {
        arg_add(a, c->batch.data.data + from, c->batch.ends[i] - from);
        from = c->batch.ends[i];
    }
    return redis_send(c->at->redis, on_reply, c, a->count, a->argv, a->lens);
}

static void call_send(struct publish_call *c)
{
    size_t max = FIXED_ARGS + c->batch.count;
    struct arguments a = {0};

    if (!c->at->proven || c->sent)
        return; /* prove() sends it */
    a.argv = calloc(max, sizeof(*a.argv));
    a.lens = calloc(max, sizeof(*a.lens));
    if (a.argv && a.lens)
        c->sent = send_arguments(c, &a);
    free(a.argv);
    free(a.lens);
    if (!c->sent)
        call_again(c);
}

struct publish_call *publish_start(struct publishers *ps, unsigned lane,
                                   const struct publish_order *order, struct batch *batch,
                                   publish_fn *fn, void *arg)
{
    struct publish_call *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->at = &ps->item[lane % ps->count];
    c->order = *order;
    c->fn = fn;
    c->arg = arg;
    c->retry = timer_new(ps->w->loop, on_retry, c);
    if (!c->retry) {
        free(c);
        return NULL;
    }
    c->batch = *batch;
    *batch = (struct batch){0};
    list_push(&c->at->calls, &c->node);
    call_send(c);
    return c;
}

void publish_cancel(struct publish_call *c)
{
    c->fn = NULL;
    timer_stop(c->retry);
    if (!c->sent)
        call_free(c);
}

/* --- a connection ----------------------------------------------------------------- */

static void send_waiting(struct publisher *p)
{
    LIST_EACH(node, tmp, &p->calls) {
        struct publish_call *c = LIST_ITEM(node, struct publish_call, node);
        if (!c->sent && !timer_running(c->retry))
            call_send(c);
    }
}

static void on_canary(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct publisher *p = arg;
    struct worker *w = p->all->w;

    p->loading = false;
    if (!reply)
        return;
    if (reply->type == REDIS_FAILURE) {
        count_error(w, reply->str);
        log_error("redis does not let us publish", LOG_S("why", reply->str));
        redis_drop(r, "publishing is refused");
        return;
    }
    p->proven = true;
    p->warned = p->refused = false;
    recall_redis(w->recall, redis_run_id(r));
    send_waiting(p);
    worker_on_redis(w);
}

static void on_loaded(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct publisher *p = arg;

    if (!reply)
        return;
    if (reply->type == REDIS_FAILURE) {
        count_error(p->all->w, reply->str);
        log_error("redis does not load the script", LOG_S("why", reply->str));
        redis_drop(r, "the script is refused");
        return;
    }
    if (strcmp(reply->str ? reply->str : "", p->all->sha) != 0)
        redis_drop(r, "it names the script differently");
}

/* The two commands stay in order, so the canary's answer proves both. */
static void prove(struct publisher *p)
{
    p->proven = false;
    p->loading =
        redis_sendv(p->redis, on_loaded, p, "SCRIPT", "LOAD", publish_lua, NULL) &&
        redis_sendv(p->redis, on_canary, p, "PUBLISH", p->all->canary, "{}", NULL);
    if (!p->loading)
        redis_drop(p->redis, "it takes no command");
}

static void on_ready(struct redis *r, void *arg)
{
    (void)r;
    prove(arg);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    struct publisher *p = arg;
    const char *refusal = redis_refusal(r);

    if (refusal)
        count_error(p->all->w, refusal);
    if (p->proven || !p->warned || (refusal && !p->refused))
        log_warn("redis lost", LOG_S("connection", "publish"), LOG_S("why", why));
    p->warned = true;
    p->refused |= refusal != NULL;
    p->proven = p->loading = false;
    p->all->w->stats.redis_lost++;
}

static void script_sha(char out[41])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    EVP_Digest(publish_lua, publish_lua_len, digest, &len, EVP_sha1(), NULL);
    for (unsigned i = 0; i < 20; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
}

struct publishers *publishers_new(struct worker *w)
{
    static const struct redis_events events = {.on_ready = on_ready, .on_down = on_down};
    unsigned count = (unsigned)w->conf->publishers;
    struct publishers *ps = calloc(1, sizeof(*ps) + count * sizeof(ps->item[0]));
    char name[64];

    if (!ps)
        return NULL;
    ps->w = w;
    script_sha(ps->sha);
    snprintf(ps->canary, sizeof(ps->canary), "%sthreadcast:canary:%s",
             w->conf->redis_prefix, w->instance);
    for (; ps->count < count; ps->count++) {
        struct publisher *p = &ps->item[ps->count];
        struct redis_options o = {
            .url = &w->conf->redis, .name = name, .tls_ca_file = w->conf->tls_ca_file};
        snprintf(name, sizeof(name), "threadcast-worker:%s:publish-%u", w->instance,
                 ps->count);
        p->all = ps;
        list_init(&p->calls);
        p->redis = redis_new(w->loop, &o, &events, p);
        if (!p->redis) {
            publishers_free(ps);
            return NULL;
        }
    }
    return ps;
}

void publishers_free(struct publishers *ps)
{
    if (!ps)
        return;
    for (unsigned i = 0; i < ps->count; i++) {
        struct publisher *p = &ps->item[i];
        p->proven = false;
        redis_free(p->redis); /* what was sent comes back as lost */
        LIST_EACH(node, tmp, &p->calls)
            call_free(LIST_ITEM(node, struct publish_call, node));
    }
    free(ps);
}

bool publishers_ready(const struct publishers *ps)
{
    for (unsigned i = 0; i < ps->count; i++)
        if (ps->item[i].proven)
            return true;
    return false;
}

unsigned publishers_lane(struct publishers *ps)
{
    return ps->next++ % ps->count;
}
