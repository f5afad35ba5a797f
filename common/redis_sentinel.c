/* One sentinel at a time is asked, by a connection of its own that stays:
 *
 *   retry ─▶ seeking ─▶ asker ── get-master-addr-by-name, master ──▶ redis_found ─▶ dial
 *                         ▲  └─ every POLL_MS; another address: all go there at once
 *                         └─ no answer, no such master, an older epoch: the next sentinel
 *
 * Asking often does what a subscription to +switch-master would do, and what it would
 * not: nothing is missed while a sentinel is away. A sentinel that was cut off may name a
 * master of before; the epoch of the configuration tells, and it only counts when no
 * other is left. Never calls an owner. */
#include "common/redis_sentinel.h"

#include "common/clock.h"
#include "common/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 250,
    ASK_MS = 1000,      /* for a sentinel's connection, and for its answer */
    DOUBT_MS = 500,     /* a sentinel is given so long before others are asked */
    PAUSE_MAX_MS = 500, /* when none of them answers */
    NAME_MAX_BYTES = 128,
};

struct redis_sentinel {
    struct list node; /* of the loop */
    struct loop *loop;
    const struct redis_sentinels *all;
    char *ca_file, name[NAME_MAX_BYTES];
    struct list members; /* struct redis.in_sentinel */
    struct redis *asker; /* to all->at[index]; NULL: soon another */
    struct timer *poll;  /* to the next question, or the next sentinel */
    size_t index;
    size_t failed, older; /* in a row, since an answer was taken */
    struct backoff pause;
    uint64_t turn; /* counts askers, from 1 */
    int64_t turn_ms;
    char *host; /* what was answered last; NULL: nothing yet */
    int port;
    int64_t epoch;
    char *next_host; /* of an answer whose second half is to come */
    int next_port;
};

static struct redis *member_of(struct list *node)
{
    return LIST_ITEM(node, struct redis, in_sentinel);
}

/* --- whom to ask -------------------------------------------------------------------- */

static void let_go(struct redis_sentinel *s)
{
    redis_free(s->asker);
    s->asker = NULL;
    free(s->next_host);
    s->next_host = NULL;
    s->index = (s->index + 1) % s->all->count;
}

static void nobody_answers(struct redis_sentinel *s, const char *why)
{
    LIST_EACH(node, next, &s->members) {
        struct redis *r = member_of(node);
        if (r->seeking)
            redis_lose(r, "no sentinel knows the master, the last of %zu: %s",
                       s->all->count, why);
    }
}

/* The next one; a pause behind the last of them. */
static void ask_another(struct redis_sentinel *s, const char *why)
{
    let_go(s);
    if (++s->failed % s->all->count) {
        timer_start(s->poll, 0);
        return;
    }
    nobody_answers(s, why);
    timer_start(s->poll, backoff_next(&s->pause, PAUSE_MAX_MS));
}

void redis_sentinel_doubt(struct redis *r)
{
    struct redis_sentinel *s = r->sentinel;
    bool doubt = r->told && r->told == s->turn;

    r->told = 0;
    if (!doubt || s->all->count == 1 || !s->asker || clock_ms() - s->turn_ms < DOUBT_MS)
        return;
    let_go(s);
    timer_start(s->poll, 0);
}

/* --- what it says ------------------------------------------------------------------- */

static void send_there(struct redis_sentinel *s, struct redis *r)
{
    r->told = s->turn;
    redis_found(r, s->host, s->port);
}

/* It is somewhere else than where it should be, or waits for another try to get there. */
static void call_away(struct redis_sentinel *s, struct redis *r)
{
    bool there = r->at.host && r->at.port == s->port && strcmp(r->at.host, s->host) == 0;

    backoff_reset(&r->backoff);
    r->told = 0;
    if (r->state == REDIS_WAITING && timer_running(r->retry))
        timer_start(r->retry, 0);
    else if (!there)
        redis_lose(r, "the master is at %s:%d now", s->host, s->port);
}

/* Takes next_host. */
static void take(struct redis_sentinel *s, int64_t epoch)
{
    bool moved =
        !s->host || s->port != s->next_port || strcmp(s->host, s->next_host) != 0;

    free(s->host);
    s->host = s->next_host;
    s->port = s->next_port;
    s->next_host = NULL;
    s->epoch = epoch;
    s->failed = s->older = 0;
    backoff_reset(&s->pause);
    timer_start(s->poll, POLL_MS);
    LIST_EACH(node, next, &s->members) {
        struct redis *r = member_of(node);
        if (r->seeking)
            send_there(s, r);
        else if (moved)
            call_away(s, r);
    }
}

static bool decimal(const struct redis_reply *s, int64_t max, int64_t *ret_value)
{
    int64_t value = 0;

    if (s->type != REDIS_STRING || s->len == 0 || s->len > 18)
        return false;
    for (size_t i = 0; i < s->len; i++) {
        if (s->str[i] < '0' || s->str[i] > '9')
            return false;
        value = value * 10 + (s->str[i] - '0');
    }
    *ret_value = value;
    return value <= max;
}

static void refuse(struct redis_sentinel *s, const struct redis_reply *reply)
{
    char text[160], why[256];

    if (reply->type == REDIS_FAILURE) {
        redis_error_text(reply, text, sizeof(text));
        snprintf(why, sizeof(why), "SENTINEL: %s", text);
    } else if (reply->type == REDIS_NIL) {
        snprintf(why, sizeof(why), "it knows no master '%s'", s->all->master);
    } else {
        snprintf(why, sizeof(why), "an odd answer");
    }
    ask_another(s, why);
}

/* The first half: [host, port]. */
static void on_address(struct redis *asker, const struct redis_reply *reply, void *arg)
{
    struct redis_sentinel *s = arg;
    int64_t port = 0;

    (void)asker;
    if (!reply)
        return;
    if (reply->type != REDIS_ARRAY || reply->count != 2 ||
        reply->items[0]->type != REDIS_STRING || reply->items[0]->len == 0 ||
        reply->items[0]->len > 253 ||
        memchr(reply->items[0]->str, 0, reply->items[0]->len) ||
        !decimal(reply->items[1], 65535, &port) || port == 0) {
        refuse(s, reply);
        return;
    }
    free(s->next_host);
    s->next_host = strndup(reply->items[0]->str, reply->items[0]->len);
    s->next_port = (int)port;
}

/* The second: names and values, one of them the epoch. */
static void on_master(struct redis *asker, const struct redis_reply *reply, void *arg)
{
    struct redis_sentinel *s = arg;
    int64_t epoch = -1;

    (void)asker;
    if (!reply)
        return;
    for (size_t i = 0; reply->type == REDIS_ARRAY && i + 1 < reply->count; i += 2)
        if (reply->items[i]->type == REDIS_STRING &&
            strcmp(reply->items[i]->str, "config-epoch") == 0)
            (void)decimal(reply->items[i + 1], INT64_MAX, &epoch);
    if (epoch < 0)
        refuse(s, reply);
    else if (!s->next_host)
        ask_another(s, "no memory");
    else if (epoch < s->epoch && ++s->older < s->all->count)
        ask_another(s, "it knows only a master of before");
    else
        take(s, epoch);
}

/* --- asking ------------------------------------------------------------------------- */

static void ask(struct redis_sentinel *s)
{
    const char *master = s->all->master;

    timer_stop(s->poll);
    if (!redis_sendv(s->asker, on_address, s, "SENTINEL", "GET-MASTER-ADDR-BY-NAME",
                     master, NULL) ||
        !redis_sendv(s->asker, on_master, s, "SENTINEL", "MASTER", master, NULL))
        redis_drop(s->asker, "no memory for a question");
}

static void on_ready(struct redis *asker, void *arg)
{
    (void)asker;
    ask(arg);
}

static void on_down(struct redis *asker, const char *why, void *arg)
{
    (void)asker;
    ask_another(arg, why);
}

static void asker_make(struct redis_sentinel *s)
{
    static const struct redis_events events = {.on_ready = on_ready, .on_down = on_down};
    struct redis_options o = {.url = &s->all->at[s->index],
                              .name = s->name[0] ? s->name : NULL,
                              .tls_ca_file = s->ca_file,
                              .connect_ms = ASK_MS,
                              .reply_ms = ASK_MS,
                              .sentinel = true};

    s->turn++;
    s->turn_ms = clock_ms();
    s->asker = redis_new(s->loop, &o, &events, s);
    if (!s->asker)
        ask_another(s, "no memory");
}

static void on_poll(void *arg)
{
    struct redis_sentinel *s = arg;

    if (!s->asker)
        asker_make(s);
    else if (redis_state(s->asker) == REDIS_READY)
        ask(s);
}

/* The answer may be under way already, from before it went down: then it is told the
 * old address once more, and the next answer calls it away. */
void redis_sentinel_ask(struct redis *r)
{
    struct redis_sentinel *s = r->sentinel;

    r->seeking = true;
    if (s->asker && redis_state(s->asker) == REDIS_READY && timer_running(s->poll))
        ask(s);
}

/* --- who belongs to it -------------------------------------------------------------- */

/* "threadcast-bridge:6f1c-0:subscribe" → "threadcast-bridge:6f1c-0:sentinel" */
static void name_after(struct redis_sentinel *s, const char *name)
{
    const char *colon = name ? strrchr(name, ':') : NULL;

    if (colon)
        snprintf(s->name, sizeof(s->name), "%.*s:sentinel", (int)(colon - name), name);
}

static void sentinel_free(struct redis_sentinel *s)
{
    list_remove(&s->node);
    redis_free(s->asker);
    timer_free(s->poll);
    free(s->ca_file);
    free(s->host);
    free(s->next_host);
    free(s);
}

static struct redis_sentinel *sentinel_new(const struct redis *r)
{
    struct redis_sentinel *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    list_init(&s->node);
    list_init(&s->members);
    s->loop = r->loop;
    s->all = r->at.sentinels;
    name_after(s, r->opt.name);
    s->poll = timer_new(r->loop, on_poll, s);
    s->ca_file = r->opt.tls_ca_file ? strdup(r->opt.tls_ca_file) : NULL;
    if (!s->poll || (r->opt.tls_ca_file && !s->ca_file)) {
        sentinel_free(s);
        return NULL;
    }
    list_push(loop_shared(r->loop), &s->node);
    timer_start(s->poll, 0);
    return s;
}

bool redis_sentinel_join(struct redis *r)
{
    LIST_EACH(node, next, loop_shared(r->loop)) {
        struct redis_sentinel *s = LIST_ITEM(node, struct redis_sentinel, node);
        if (s->all == r->at.sentinels)
            r->sentinel = s;
    }
    if (!r->sentinel)
        r->sentinel = sentinel_new(r);
    if (r->sentinel)
        list_push(&r->sentinel->members, &r->in_sentinel);
    return r->sentinel != NULL;
}

void redis_sentinel_leave(struct redis *r)
{
    struct redis_sentinel *s = r->sentinel;

    if (!s)
        return;
    r->sentinel = NULL;
    list_remove(&r->in_sentinel);
    if (list_empty(&s->members))
        sentinel_free(s);
}
