/* redis_model: see redis_model.h. */
#include "redis_model.h"

#include "../fuzz.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/redis.h"
#include "common/redis_reply.h"
#include "host.h"
#include "redis_answers.h"

#include <stdarg.h>

enum { WORDS_MAX = 8, CHANNELS_MAX = 16 };

/* A command that waits for its reply. */
struct command {
    struct list node;
    redis_reply_fn *fn;
    void *arg;
    int argc;
    char *argv[WORDS_MAX];
    struct buf reply; /* RESP, once it was carried out */
};

/* What the feed has not read yet. */
struct news {
    struct list node;
    enum { NEWS_SUBSCRIBED, NEWS_REFUSED, NEWS_MESSAGE } kind;
    char *channel, *data;
    size_t len;
};

struct redis {
    bool feed, lost;
    enum redis_state state;
    struct redis_events ev;
    void *arg;
    struct list commands, news;
    char *channels[CHANNELS_MAX]; /* subscribed */
    struct redis_counters counters;
};

static struct redis *roles[ROLES];
static int refusals;

void redis_model_init(void)
{
    memset(roles, 0, sizeof(roles));
    refusals = 0;
}

bool redis_model_idle(void)
{
    return list_empty(&roles[ROLE_READER]->commands);
}

bool redis_model_hears(const char *channel)
{
    for (int i = 0; i < CHANNELS_MAX; i++)
        if (roles[ROLE_FEED]->channels[i] &&
            strcmp(roles[ROLE_FEED]->channels[i], channel) == 0)
            return true;
    return false;
}

void redis_model_refuse(int count)
{
    refusals = count;
}

/* --- what common/redis.h promises ----------------------------------------------------
 */

struct redis *redis_new(struct loop *l, const struct redis_options *o,
                        const struct redis_events *events, void *arg)
{
    struct redis *r = calloc(1, sizeof(*r));

    (void)l;
    MUST(r);
    r->feed = o->subscriber;
    r->ev = *events;
    r->arg = arg;
    list_init(&r->commands);
    list_init(&r->news);
    roles[r->feed ? ROLE_FEED : ROLE_READER] = r;
    return r;
}

enum redis_state redis_state(const struct redis *r)
{
    return r->state;
}

/* It never stands still here: a question without an answer is one that will get it. */
int64_t redis_heard_ms(const struct redis *r)
{
    return r->state == REDIS_READY ? clock_ms() : 0;
}

const char *redis_version(const struct redis *r)
{
    (void)r;
    return "7.0.15";
}

/* It never refuses who comes, only what they ask. */
const char *redis_refusal(const struct redis *r)
{
    (void)r;
    return NULL;
}

const struct redis_counters *redis_counters(const struct redis *r)
{
    return &r->counters;
}

void redis_drop(struct redis *r, const char *why)
{
    (void)why;
    if (r->state == REDIS_WAITING)
        return;
    r->state = REDIS_WAITING;
    r->lost = true;
}

static char *copy(const char *s, size_t len)
{
    return fuzz_copy((struct span){s, len});
}

static bool take(struct redis *r, redis_reply_fn *fn, void *arg, int argc,
                 const char *const *argv, const size_t *lens)
{
    struct command *c;

    if (r->state != REDIS_READY || refusals > 0) {
        refusals -= refusals > 0;
        return false;
    }
    host.safe++;
    c = calloc(1, sizeof(*c));
    MUST(c && argc <= WORDS_MAX);
    c->fn = fn;
    c->arg = arg;
    c->argc = argc;
    buf_init(&c->reply);
    for (int i = 0; i < argc; i++)
        c->argv[i] = copy(argv[i], lens ? lens[i] : strlen(argv[i]));
    list_push(&r->commands, &c->node);
    host.safe--;
    return true;
}

bool redis_sendv(struct redis *r, redis_reply_fn *fn, void *arg, ...)
{
    const char *argv[WORDS_MAX + 1];
    int argc = 0;
    va_list args;

    MUST(!r->feed);
    va_start(args, arg);
    while (argc <= WORDS_MAX && (argv[argc] = va_arg(args, const char *)))
        argc++;
    va_end(args);
    return take(r, fn, arg, argc, argv, NULL);
}

static bool take_channel(struct redis *r, const char *verb, const char *channel,
                         size_t len)
{
    const char *argv[] = {verb, channel};
    const size_t lens[] = {strlen(verb), len};

    MUST(r->feed);
    return take(r, NULL, NULL, 2, argv, lens);
}

bool redis_subscribe(struct redis *r, const char *channel, size_t len)
{
    return take_channel(r, "SUBSCRIBE", channel, len);
}

bool redis_unsubscribe(struct redis *r, const char *channel, size_t len)
{
    return take_channel(r, "UNSUBSCRIBE", channel, len);
}

/* --- ends ----------------------------------------------------------------------------
 */

static void command_free(struct command *c)
{
    list_remove(&c->node);
    for (int i = 0; i < c->argc; i++)
        free(c->argv[i]);
    buf_fini(&c->reply);
    free(c);
}

static void news_free(struct news *n)
{
    list_remove(&n->node);
    free(n->channel);
    free(n->data);
    free(n);
}

static void lose_everything(struct redis *r)
{
    for (int i = 0; i < CHANNELS_MAX; i++) {
        free(r->channels[i]);
        r->channels[i] = NULL;
    }
    LIST_EACH(node, next, &r->news)
        news_free(LIST_ITEM(node, struct news, node));
    while (!list_empty(&r->commands)) {
        struct command *c = LIST_ITEM(r->commands.next, struct command, node);
        redis_reply_fn *fn = c->fn;
        void *arg = c->arg;
        command_free(c);
        if (fn)
            fn(r, NULL, arg);
    }
}

static void go_down(struct redis *r)
{
    r->state = REDIS_WAITING;
    r->lost = false;
    lose_everything(r);
    r->ev.on_down(r, "the fuzzer wants it", r->arg);
}

void redis_free(struct redis *r)
{
    if (!r)
        return;
    r->state = REDIS_WAITING;
    lose_everything(r);
    roles[r->feed ? ROLE_FEED : ROLE_READER] = NULL;
    free(r);
}

void redis_model_up(enum redis_role role)
{
    struct redis *r = roles[role];

    if (r->state == REDIS_READY || r->lost)
        return;
    r->state = REDIS_READY;
    r->ev.on_ready(r, r->arg);
}

void redis_model_down(enum redis_role role)
{
    if (roles[role]->state == REDIS_READY)
        go_down(roles[role]);
}

void redis_model_settle(void)
{
    for (int i = 0; i < ROLES; i++)
        if (roles[i]->lost)
            go_down(roles[i]);
}

/* --- pub/sub -------------------------------------------------------------------------
 */

static char **subscribed(struct redis *r, const char *channel)
{
    for (int i = 0; i < CHANNELS_MAX; i++)
        if (channel ? r->channels[i] && strcmp(r->channels[i], channel) == 0
                    : !r->channels[i])
            return &r->channels[i];
    return NULL;
}

static void add_news(struct redis *r, int kind, const char *channel, const char *data,
                     size_t len)
{
    struct news *n = calloc(1, sizeof(*n));

    MUST(n);
    n->kind = kind;
    n->channel = copy(channel, strlen(channel));
    n->data = copy(data, len);
    n->len = len;
    list_push(&r->news, &n->node);
}

void redis_model_publish(const char *channel, const char *json, size_t len)
{
    struct redis *r = roles[ROLE_FEED];

    host.safe++;
    if (r->state == REDIS_READY && subscribed(r, channel))
        add_news(r, NEWS_MESSAGE, channel, json, len);
    host.safe--;
}

void redis_model_lose_message(void)
{
    LIST_EACH(node, next, &roles[ROLE_FEED]->news) {
        struct news *n = LIST_ITEM(node, struct news, node);
        if (n->kind == NEWS_MESSAGE) {
            news_free(n);
            return;
        }
    }
}

static void execute_on_feed(struct redis *r, struct command *c, const char *error)
{
    char **slot = subscribed(r, c->argv[1]);
    bool on = strcmp(c->argv[0], "SUBSCRIBE") == 0;

    if (on && error) {
        add_news(r, NEWS_REFUSED, c->argv[1], "", 0);
    } else if (on) {
        slot = slot ? slot : subscribed(r, NULL);
        MUST(slot);
        if (!*slot)
            *slot = copy(c->argv[1], strlen(c->argv[1]));
        add_news(r, NEWS_SUBSCRIBED, c->argv[1], "", 0);
    } else if (slot) {
        free(*slot);
        *slot = NULL;
    }
    command_free(c);
}

static bool deliver_news(struct redis *r)
{
    if (list_empty(&r->news) && !redis_model_execute(ROLE_FEED, NULL))
        return false;
    if (list_empty(&r->news)) /* it was an UNSUBSCRIBE */
        return true;
    struct news *n = LIST_ITEM(r->news.next, struct news, node);
    list_remove(&n->node);
    if (n->kind == NEWS_SUBSCRIBED)
        r->ev.on_subscribed(r, n->channel, strlen(n->channel), r->arg);
    else if (n->kind == NEWS_REFUSED)
        r->ev.on_refused(r, n->channel, strlen(n->channel), "NOPERM", r->arg);
    else
        r->ev.on_message(r, n->channel, strlen(n->channel), n->data, n->len, r->arg);
    news_free(n);
    return true;
}

/* --- what the fuzzer makes happen ------------------------------------------------- */

bool redis_model_execute(enum redis_role role, const char *error)
{
    struct redis *r = roles[role];

    LIST_EACH(node, next, &r->commands) {
        struct command *c = LIST_ITEM(node, struct command, node);
        if (c->reply.len)
            continue;
        host.safe++;
        if (r->feed)
            execute_on_feed(r, c, error);
        else
            redis_answer(c->argv, error, &c->reply);
        host.safe--;
        return true;
    }
    return false;
}

static bool deliver_reply(struct redis *r)
{
    const struct redis_reply *reply;
    struct redis_reader *reader;

    if (list_empty(&r->commands))
        return false;
    struct command *c = LIST_ITEM(r->commands.next, struct command, node);
    if (!c->reply.len)
        redis_model_execute(ROLE_READER, NULL);
    host.safe++;
    list_remove(&c->node);
    reader = redis_reader_new(1 << 24, 1 << 16);
    MUST(redis_reader_feed(reader, c->reply.data, c->reply.len));
    MUST(redis_reader_next(reader, &reply) == REDIS_READ_REPLY);
    host.safe--;
    if (c->fn)
        c->fn(r, reply, c->arg);
    redis_reader_free(reader);
    command_free(c);
    return true;
}

bool redis_model_deliver(enum redis_role role)
{
    struct redis *r = roles[role];

    if (r->state != REDIS_READY)
        return false;
    return r->feed ? deliver_news(r) : deliver_reply(r);
}
