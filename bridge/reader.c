/* reader: questions to Redis that change nothing: pages of logs (pages.c) and where the
 * live runs of a thread stand.
 *
 *   cursor:  HGETALL state ┐
 *            XREVRANGE tail ┴▶ smallest beginning of the live runs, moved back until no
 *                             ended run is cut ─▶ XREVRANGE: the entry in front of it
 *
 * --cursor-concurrency of them are asked for at once; the others wait in a line and cost
 * Redis' queue nothing: ten thousand readers may come together. */
#include "bridge/reader.h"

#include "bridge/bridge.h"
#include "bridge/pages.h"
#include "bridge/state_word.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/versions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAY_EVERY_MS = 60000 };

struct reader {
    struct bridge *bridge;
    struct redis *redis;
    struct pages *pages;
    struct list line; /* struct ask.node, not asked yet */
    int64_t asked;
    bool down, refused;    /* said so */
    int64_t newer_said_ms; /* that a later version was here; 0: never */
};

/* One question about one thread, until `fn` is called. */
struct ask {
    struct list node; /* in reader->line */
    struct reader *reader;
    cursor_fn *fn;
    void *arg;
    struct thread_cursor cursor;
    struct event_id began; /* of the earliest run that must not be cut */
    bool failed, live;
    int waiting; /* replies */
    char thread_id[];
};

static bool is_run(const struct redis_reply *field, char kind)
{
    return field->len > 2 && field->str[0] == kind && field->str[1] == ':';
}

static void find_live(struct ask *a, const struct redis_reply *state)
{
    for (size_t i = 0; i + 1 < state->count; i += 2) {
        const struct redis_reply *field = state->items[i], *value = state->items[i + 1];
        struct event_id began;
        if (!is_run(field, 'r') || !state_word_id(value->str, value->len, 2, &began))
            continue;
        if (!a->live || event_id_cmp(began, a->began) < 0)
            a->began = began;
        a->live = true;
    }
}

/* Moves `began` in front of every ended run that it would cut; true when it moved. */
static bool uncut(struct ask *a, const struct redis_reply *state)
{
    bool moved = false;
    for (size_t i = 0; i + 1 < state->count; i += 2) {
        const struct redis_reply *field = state->items[i], *value = state->items[i + 1];
        struct event_id began, ended;
        if (!is_run(field, 'x') || !state_word_id(value->str, value->len, 1, &began) ||
            !state_word_id(value->str, value->len, 2, &ended))
            continue;
        if (event_id_cmp(began, a->began) < 0 && event_id_cmp(ended, a->began) >= 0) {
            a->began = began;
            moved = true;
        }
    }
    return moved;
}

static void answer(struct ask *a)
{
    a->cursor.ok = !a->failed;
    a->cursor.live = a->live;
    a->reader->asked--;
    a->fn(&a->cursor, a->arg);
    free(a);
}

static void pump(struct reader *r);

static void on_before(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    struct reader *reader = a->reader;
    if (!reply || reply->type != REDIS_ARRAY)
        a->failed = true;
    else if (!reply->count || reply->items[0]->count < 1 ||
             !event_id_parse(reply->items[0]->items[0]->str,
                             reply->items[0]->items[0]->len, &a->cursor.run))
        a->cursor.run = (struct event_id){a->began.epoch, a->began.n - 1};
    answer(a);
    pump(reader);
}

static void ask_before(struct ask *a)
{
    char log[NAMES_KEY_SIZE], began[EVENT_ID_SIZE + 1] = "(";
    names_log(log, a->reader->bridge->conf->redis_prefix, a->thread_id);
    event_id_format(&a->began, began + 1);
    if (!redis_sendv(a->reader->redis, on_before, a, "XREVRANGE", log, began, "-",
                     "COUNT", "1", NULL)) {
        a->failed = true;
        answer(a);
    }
}

static void one_less(struct ask *a)
{
    if (--a->waiting)
        return;
    if (a->failed || !a->live) {
        a->cursor.run = a->cursor.tail;
        answer(a);
    } else {
        ask_before(a);
    }
}

bool reader_knows(struct reader *r, const char *thread_id, const struct redis_reply *v)
{
    char version[17] = "";
    int64_t now = clock_ms();

    if (v->type != REDIS_STRING || (v->len == 1 && v->str[0] == '0' + VERSION_SCRIPT))
        return true;
    r->bridge->stats.state_newer++;
    if (!r->newer_said_ms || now - r->newer_said_ms >= SAY_EVERY_MS) {
        snprintf(version, sizeof(version), "%.*s", (int)(v->len < 16 ? v->len : 16),
                 v->str);
        log_error("a newer version wrote this thread", LOG_S("thread", thread_id),
                  LOG_S("script", version), LOG_I("ours", VERSION_SCRIPT));
        r->newer_said_ms = now;
    }
    return false;
}

bool reader_knows_state(struct reader *r, const char *thread_id,
                        const struct redis_reply *state)
{
    for (size_t i = 0; i + 1 < state->count; i += 2)
        if (state->items[i]->len == 1 && state->items[i]->str[0] == 'v')
            return reader_knows(r, thread_id, state->items[i + 1]);
    return true;
}

static void on_state(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    struct reader *reader = a->reader;
    if (!reply || reply->type != REDIS_ARRAY ||
        !reader_knows_state(reader, a->thread_id, reply)) {
        a->failed = true;
    } else {
        a->cursor.exists |= reply->count > 0;
        find_live(a, reply);
        while (a->live && uncut(a, reply))
            ;
    }
    one_less(a);
    pump(reader);
}

static void on_tail(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    struct reader *reader = a->reader;
    if (!reply || reply->type != REDIS_ARRAY) {
        a->failed = true;
    } else if (reply->count && reply->items[0]->count == 2) {
        a->cursor.exists = true;
        event_id_parse(reply->items[0]->items[0]->str, reply->items[0]->items[0]->len,
                       &a->cursor.tail);
    }
    one_less(a);
    pump(reader);
}

static void ask_send(struct reader *r, struct ask *a)
{
    char log[NAMES_KEY_SIZE], state[NAMES_KEY_SIZE];
    names_log(log, r->bridge->conf->redis_prefix, a->thread_id);
    names_state(state, r->bridge->conf->redis_prefix, a->thread_id);
    r->asked++;
    a->waiting = 1;
    /* the tail first: what begins in between is then seen as live behind it */
    bool sent = r->redis && redis_sendv(r->redis, on_tail, a, "XREVRANGE", log, "+", "-",
                                        "COUNT", "1", NULL);
    if (sent && redis_sendv(r->redis, on_state, a, "HGETALL", state, NULL)) {
        a->waiting++;
    } else {
        a->failed = true;
        if (!sent)
            one_less(a);
    }
}

/* When Redis is away, nothing can be sent, and all of the line is answered so. */
static void pump(struct reader *r)
{
    struct list *node;
    while (r->asked < r->bridge->conf->cursor_concurrency &&
           (node = list_pop(&r->line))) {
        r->bridge->stats.cursors_waiting--;
        ask_send(r, LIST_ITEM(node, struct ask, node));
    }
}

void reader_cursor(struct reader *r, const char *thread_id, cursor_fn *fn, void *arg)
{
    size_t size = strlen(thread_id) + 1;
    struct ask *a = calloc(1, sizeof(*a) + size);
    if (!a) {
        fn(&(struct thread_cursor){.ok = false}, arg);
        return;
    }
    a->reader = r;
    a->fn = fn;
    a->arg = arg;
    memcpy(a->thread_id, thread_id, size);
    list_push(&r->line, &a->node);
    r->bridge->stats.cursors_waiting++;
    pump(r);
}

static void on_ready(struct redis *r, void *arg)
{
    struct reader *reader = arg;
    reader->down = reader->refused = false;
    log_info("reader connected", LOG_S("redis", redis_version(r)),
             LOG_I("reactor", reader->bridge->number));
    pages_ready(reader->pages);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    struct reader *reader = arg;
    bool refused = redis_refusal(r) != NULL;
    reader->bridge->stats.redis_down++;
    reader->bridge->stats.redis_errors += refused;
    /* once, not at every try to come back; and when it is back and refuses us */
    if (!reader->down || (refused && !reader->refused))
        log_warn("reader lost", LOG_S("why", why),
                 LOG_I("reactor", reader->bridge->number));
    reader->down = true;
    reader->refused |= refused;
}

struct reader *reader_new(struct bridge *b)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->bridge = b;
    list_init(&r->line);
    char name[64];
    snprintf(name, sizeof(name), "threadcast-bridge:%s:read", b->instance);
    struct redis_options o = {.url = &b->conf->redis,
                              .name = name,
                              .tls_ca_file = b->conf->tls_ca_file,
                              .reply_ms = b->conf->upstream_timeout_ms};
    static const struct redis_events events = {.on_ready = on_ready, .on_down = on_down};
    r->redis = redis_new(b->loop, &o, &events, r);
    r->pages =
        r->redis ? pages_new(b, r->redis, (size_t)b->conf->replay_concurrency) : NULL;
    if (!r->pages) {
        reader_free(r);
        return NULL;
    }
    return r;
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    if (r->redis) {
        pages_close(r->pages);
        redis_free(r->redis);
    }
    r->redis = NULL;
}

void reader_free(struct reader *r)
{
    if (!r)
        return;
    reader_close(r);
    pages_free(r->pages);
    free(r);
}

bool reader_ready(const struct reader *r)
{
    return r->redis && redis_state(r->redis) == REDIS_READY;
}

int64_t reader_heard_ms(const struct reader *r)
{
    return r->redis ? redis_heard_ms(r->redis) : 0;
}

struct redis *reader_redis(struct reader *r)
{
    return r->redis;
}

struct pages *reader_pages(struct reader *r)
{
    return r->pages;
}

struct bridge *reader_bridge(struct reader *r)
{
    return r->bridge;
}
