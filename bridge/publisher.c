/* publisher: see publisher.h. Calls publish.lua in outside mode and never keeps what
 * could not be sent: a caller of ours is told, and tries again. The script is loaded on
 * each connect; should Redis forget it later, the whole text goes along once. */
#include "bridge/publisher.h"

#include "bridge/bridge.h"
#include "bridge/live.h"
#include "common/log.h"
#include "publish_lua.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXED_ARGS 17 /* EVALSHA sha numkeys, 3 keys, 11 before the events */

struct publisher {
    struct bridge *b;
    struct redis *redis;
    char sha[41];
    bool down, refused; /* said so */
};

/* One call of the script until its answer; keeps its arguments for a second try. */
struct call {
    struct publisher *p;
    publish_fn *fn;
    void *arg;
    bool whole; /* sent as EVAL with the text */
    int argc;
    const char **argv; /* into `bytes`, but argv[1] */
    size_t *lens;
    struct buf bytes;
};

static void call_free(struct call *c)
{
    buf_fini(&c->bytes);
    free(c->argv);
    free(c->lens);
    free(c);
}

static void call_answer(struct call *c, const struct publish_answer *answer)
{
    struct bridge_stats *stats = &c->p->b->stats;

    switch (answer->outcome) {
    case PUBLISH_OK:
    case PUBLISH_KEPT:
        break;
    case PUBLISH_CONFLICT:
    case PUBLISH_TAKEN:
        stats->publish_refused++;
        break;
    case PUBLISH_DOWN:
        stats->publish_failed++;
        break;
    }
    c->fn(answer, c->arg);
    call_free(c);
}

static void call_down(struct call *c, const char *detail)
{
    call_answer(c, &(struct publish_answer){.outcome = PUBLISH_DOWN, .detail = detail});
}

/* --- the answer --------------------------------------------------------------------- */

static bool word_is(const struct redis_reply *reply, size_t i, const char *word)
{
    return reply->count > i && reply->items[i]->str &&
           reply->items[i]->len == strlen(word) &&
           memcmp(reply->items[i]->str, word, reply->items[i]->len) == 0;
}

static bool read_ids(const struct redis_reply *reply, struct publish_answer *ret)
{
    return reply->count >= 3 && reply->items[1]->str && reply->items[2]->str &&
           event_id_parse(reply->items[1]->str, reply->items[1]->len, &ret->first) &&
           event_id_parse(reply->items[2]->str, reply->items[2]->len, &ret->last);
}

static struct publish_answer read_answer(const struct redis_reply *reply)
{
    struct publish_answer answer = {.outcome = PUBLISH_DOWN, .detail = "odd reply"};

    if (reply->type == REDIS_FAILURE) {
        answer.detail = reply->str;
    } else if (reply->type == REDIS_ARRAY && word_is(reply, 0, "CONFLICT")) {
        answer.outcome = PUBLISH_CONFLICT;
    } else if (reply->type == REDIS_ARRAY &&
               (word_is(reply, 0, "TAKEN") || word_is(reply, 0, "ENDED") ||
                word_is(reply, 0, "FENCED") || word_is(reply, 0, "LOST") ||
                word_is(reply, 0, "GAP"))) {
        answer.outcome = PUBLISH_TAKEN;
    } else if (reply->type == REDIS_ARRAY && read_ids(reply, &answer)) {
        if (word_is(reply, 0, "OK"))
            answer.outcome = PUBLISH_OK;
        else if (word_is(reply, 0, "ONCE"))
            answer.outcome = PUBLISH_KEPT;
    }
    return answer;
}

static bool call_send(struct call *c);

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct call *c = arg;
    struct publish_answer answer;

    (void)r;
    if (!reply) {
        call_down(c, "connection lost");
        return;
    }
    if (redis_is_error(reply, "NOSCRIPT") && !c->whole) {
        c->whole = true;
        if (!call_send(c))
            call_down(c, "not connected");
        return;
    }
    answer = read_answer(reply);
    if (answer.outcome == PUBLISH_DOWN) {
        c->p->b->stats.redis_errors++;
        log_warn("publishing refused", LOG_S("reply", answer.detail));
    }
    call_answer(c, &answer);
}

/* --- the call ----------------------------------------------------------------------- */

static bool call_send(struct call *c)
{
    c->argv[0] = c->whole ? "EVAL" : "EVALSHA";
    c->argv[1] = c->whole ? publish_lua : c->p->sha;
    c->lens[0] = strlen(c->argv[0]);
    c->lens[1] = c->whole ? publish_lua_len : strlen(c->p->sha);
    return redis_send(c->p->redis, on_reply, c, c->argc, c->argv, c->lens);
}

/* Appends one argument; its place becomes a pointer in call_fix, when `bytes` has stopped
 * moving. */
static void call_push(struct call *c, const char *data, size_t len)
{
    c->lens[c->argc++] = len;
    buf_add(&c->bytes, data, len);
    buf_char(&c->bytes, 0);
}

static void call_text(struct call *c, const char *text)
{
    call_push(c, text, strlen(text));
}

static void call_number(struct call *c, int64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)n);
    call_text(c, text);
}

static bool call_fix(struct call *c)
{
    const char *at = c->bytes.data;

    if (c->bytes.failed)
        return false;
    for (int i = 2; i < c->argc; i++) {
        c->argv[i] = at;
        at += c->lens[i] + 1;
    }
    return true;
}

static struct call *call_new(struct publisher *p, size_t events, publish_fn *fn,
                             void *arg)
{
    struct call *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    *c = (struct call){.p = p, .fn = fn, .arg = arg, .argc = 2};
    buf_init(&c->bytes);
    c->argv = calloc(FIXED_ARGS + events, sizeof *c->argv);
    c->lens = calloc(FIXED_ARGS + events, sizeof *c->lens);
    if (c->argv && c->lens)
        return c;
    call_free(c);
    return NULL;
}

/* What a call of the script says about runs. */
struct call_kind {
    const char *mode, *run, *worker; /* worker: in outside mode the body's hash */
    int64_t attempt, number;
};

/* Keys and arguments in the order that publish.lua documents. */
static void call_fill(struct call *c, const char *thread_id, const char *once_hash,
                      const struct call_kind *kind)
{
    const struct bridge_conf *conf = c->p->b->conf;
    const char *prefix = conf->redis_prefix;
    char name[NAMES_KEY_SIZE];

    call_text(c, once_hash ? "3" : "2");
    call_push(c, name, names_log(name, prefix, thread_id));
    call_push(c, name, names_state(name, prefix, thread_id));
    if (once_hash)
        call_push(c, name, names_once(name, prefix, thread_id, once_hash));
    call_text(c, "1"); /* the interface's version */
    call_text(c, kind->mode);
    call_push(c, name, names_channel(name, prefix, thread_id));
    call_number(c, conf->history_max_events);
    call_number(c, conf->history_max_bytes);
    call_number(c, conf->history_ttl_s);
    call_text(c, redis_run_id(c->p->redis));
    call_text(c, kind->run);
    call_number(c, kind->attempt);
    call_number(c, kind->number);
    call_text(c, kind->worker);
}

static void publish(struct publisher *p, const char *thread_id, const char *once_hash,
                    const struct call_kind *kind, const struct span *events, size_t count,
                    publish_fn *fn, void *arg)
{
    struct call *c = call_new(p, count, fn, arg);

    if (!c) {
        p->b->stats.publish_failed++;
        fn(&(struct publish_answer){.outcome = PUBLISH_DOWN, .detail = "out of memory"},
           arg);
        return;
    }
    if (!publisher_ready(p)) {
        call_down(c, "not connected");
        return;
    }
    call_fill(c, thread_id, once_hash, kind);
    for (size_t i = 0; i < count; i++)
        call_push(c, events[i].at, events[i].len);
    if (!call_fix(c))
        call_down(c, "out of memory");
    else if (!call_send(c))
        call_down(c, "too much is waiting");
}

void publisher_events(struct publisher *p, const char *thread_id, const char *run_ids,
                      const char *once_hash, const char *body_hash,
                      const struct span *events, size_t count, publish_fn *fn, void *arg)
{
    /* attempt and number are a run's */
    struct call_kind kind = {.mode = "outside",
                             .run = run_ids,
                             .worker = once_hash && body_hash ? body_hash : ""};

    publish(p, thread_id, once_hash, &kind, events, count, fn, arg);
}

void publisher_end(struct publisher *p, const char *thread_id, const struct live_run *run,
                   struct span event, publish_fn *fn, void *arg)
{
    struct call_kind kind = {.mode = "end",
                             .run = run->run_id,
                             .worker = run->worker,
                             .attempt = run->attempt,
                             .number = run->next};

    publish(p, thread_id, NULL, &kind, &event, 1, fn, arg);
}

/* --- hints -------------------------------------------------------------------------- */

static void on_hint(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct publisher *p = arg;

    (void)r;
    if (reply && reply->type == REDIS_FAILURE) {
        p->b->stats.redis_errors++;
        log_warn("command refused", LOG_S("reply", reply->str));
    }
}

void publisher_hint(struct publisher *p, const char *channel, const char *json)
{
    if (publisher_ready(p) &&
        !redis_sendv(p->redis, on_hint, p, "PUBLISH", channel, json, NULL))
        p->b->stats.redis_errors++;
}

void publisher_forget(struct publisher *p, const char *thread_id)
{
    char log[NAMES_KEY_SIZE], state[NAMES_KEY_SIZE];

    names_log(log, p->b->conf->redis_prefix, thread_id);
    names_state(state, p->b->conf->redis_prefix, thread_id);
    if (publisher_ready(p) &&
        !redis_sendv(p->redis, on_hint, p, "UNLINK", log, state, NULL))
        p->b->stats.redis_errors++;
}

/* --- the connection ----------------------------------------------------------------- */

static void on_ready(struct redis *r, void *arg)
{
    struct publisher *p = arg;

    p->down = p->refused = false;
    log_info("publisher connected", LOG_S("redis", redis_version(r)),
             LOG_I("reactor", p->b->number));
    redis_sendv(r, on_hint, p, "SCRIPT", "LOAD", publish_lua, NULL);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    struct publisher *p = arg;
    bool refused = redis_refusal(r) != NULL;

    p->b->stats.redis_down++;
    p->b->stats.redis_errors += refused;
    /* once, not at every try to come back; and when it is back and refuses us */
    if (!p->down || (refused && !p->refused))
        log_warn("publisher lost", LOG_S("why", why), LOG_I("reactor", p->b->number));
    p->down = true;
    p->refused |= refused;
}

static bool script_sha(char out[41])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    if (!EVP_Digest(publish_lua, publish_lua_len, digest, &len, EVP_sha1(), NULL) ||
        len != 20)
        return false;
    for (unsigned int i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return true;
}

struct publisher *publisher_new(struct bridge *b)
{
    static const struct redis_events events = {.on_ready = on_ready, .on_down = on_down};
    struct publisher *p = calloc(1, sizeof *p);
    char name[64];
    struct redis_options options = {
        .url = &b->conf->redis,
        .name = name,
        .tls_ca_file = b->conf->tls_ca_file,
        .reply_ms = b->conf->upstream_timeout_ms,
    };

    if (!p)
        return NULL;
    p->b = b;
    snprintf(name, sizeof name, "threadcast-bridge:%s:publish", b->instance);
    if (script_sha(p->sha))
        p->redis = redis_new(b->loop, &options, &events, p);
    if (!p->redis) {
        free(p);
        return NULL;
    }
    return p;
}

void publisher_free(struct publisher *p)
{
    if (!p)
        return;
    redis_free(p->redis);
    free(p);
}

bool publisher_ready(const struct publisher *p)
{
    return redis_state(p->redis) == REDIS_READY;
}

struct redis *publisher_redis(struct publisher *p)
{
    return p->redis;
}
