/* feed: Redis → hub. Channel names are checked here before they become a key of
 * anything; payloads are not looked at. */
#include "bridge/feed.h"

#include "bridge/bridge.h"
#include "bridge/hub.h"
#include "bridge/publisher.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* together a dead subscription's time until it is noticed: 4 s, of the 5 that are
 * promised */
enum { CANARY_EVERY_MS = 1500, CANARY_MISSING_MS = 2500 };

struct feed {
    struct bridge *bridge;
    struct redis *redis;
    struct timer *canary;
    bool down, refused; /* said so */
    /* of the bridge's own channels */
    bool canary_asked, canary_heard, bridges_asked;
    bool own_refused;       /* said so */
    int64_t canary_sent_ms; /* 0: none is out */
    char canary_channel[NAMES_PREFIX_MAX + 64];
    size_t canary_len;
    char bridges_channel[NAMES_PREFIX_MAX + 64];
    size_t bridges_len;
};

static bool listen_to(struct feed *f, const char *channel, size_t len, bool *asked)
{
    if (!*asked)
        *asked = redis_subscribe(f->redis, channel, len);
    return *asked;
}

/* Where there was no room for that, again later. */
static void listen_own(struct feed *f)
{
    bool all = listen_to(f, f->canary_channel, f->canary_len, &f->canary_asked) &&
               (!f->bridge->on_hint ||
                listen_to(f, f->bridges_channel, f->bridges_len, &f->bridges_asked));
    if (!all)
        timer_start(f->canary, CANARY_EVERY_MS);
}

static void canary_send(void *arg)
{
    struct feed *f = arg;
    if (redis_state(f->redis) != REDIS_READY)
        return;
    listen_own(f);
    if (!f->canary_heard)
        return;
    if (f->canary_sent_ms) {
        f->canary_sent_ms = 0;
        f->bridge->stats.canary_lost++;
        redis_drop(f->redis, "the canary did not come back");
        return;
    }
    if (publisher_ready(f->bridge->publisher)) {
        f->canary_sent_ms = clock_ms();
        publisher_hint(f->bridge->publisher, f->canary_channel, "{}");
        timer_start(f->canary, CANARY_MISSING_MS);
    } else {
        timer_start(f->canary, CANARY_EVERY_MS);
    }
}

static void on_ready(struct redis *r, void *arg)
{
    struct feed *f = arg;
    f->down = f->refused = f->own_refused = false;
    f->canary_asked = f->canary_heard = f->bridges_asked = false;
    f->canary_sent_ms = 0;
    listen_own(f);
    log_info("subscriber connected", LOG_S("redis", redis_version(r)),
             LOG_I("reactor", f->bridge->number));
    atomic_store(&f->bridge->hears, true);
    hub_feed_ready(f->bridge->hub);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    struct feed *f = arg;
    bool refused = redis_refusal(r) != NULL;
    timer_stop(f->canary);
    f->bridge->stats.redis_down++;
    f->bridge->stats.redis_errors += refused;
    /* once, not at every try to come back; and when it is back and refuses us */
    if (!f->down || (refused && !f->refused))
        log_warn("subscriber lost", LOG_S("why", why),
                 LOG_I("reactor", f->bridge->number));
    f->down = true;
    f->refused |= refused;
    atomic_store(&f->bridge->hears, false);
    hub_feed_down(f->bridge->hub);
}

static bool is_canary(const struct feed *f, const char *channel, size_t len)
{
    return len == f->canary_len && memcmp(channel, f->canary_channel, len) == 0;
}

static void on_subscribed(struct redis *r, const char *channel, size_t len, void *arg)
{
    (void)r;
    struct feed *f = arg;
    size_t id_len;
    if (is_canary(f, channel, len)) {
        f->canary_heard = true;
        timer_start(f->canary, CANARY_EVERY_MS);
        return;
    }
    const char *id =
        names_thread_of_channel(f->bridge->conf->redis_prefix, channel, len, &id_len);
    if (id)
        hub_subscribed(f->bridge->hub, id, id_len);
}

/* Rights may come later: asked again, and said once. */
static void on_own_refused(struct feed *f, bool canary, const char *why)
{
    if (!f->own_refused)
        log_error("redis refused a subscription of the bridge", LOG_S("why", why),
                  LOG_I("reactor", f->bridge->number));
    f->own_refused = true;
    if (canary)
        f->canary_asked = f->canary_heard = false;
    else
        f->bridges_asked = false;
    if (!f->canary_heard)
        timer_start(f->canary, CANARY_EVERY_MS);
}

/* This user may not read that channel; the other threads go on. */
static void on_refused(struct redis *r, const char *channel, size_t len, const char *why,
                       void *arg)
{
    (void)r;
    struct feed *f = arg;
    size_t id_len;
    const char *id =
        names_thread_of_channel(f->bridge->conf->redis_prefix, channel, len, &id_len);
    f->bridge->stats.redis_errors++;
    if (!id) {
        on_own_refused(f, is_canary(f, channel, len), why);
        return;
    }
    log_error("redis refused a subscription", LOG_S("why", why));
    hub_refused(f->bridge->hub, id, id_len);
}

static void on_message(struct redis *r, const char *channel, size_t channel_len,
                       const char *data, size_t len, void *arg)
{
    (void)r;
    struct feed *f = arg;
    size_t id_len;
    const char *id = names_thread_of_channel(f->bridge->conf->redis_prefix, channel,
                                             channel_len, &id_len);
    if (id) {
        hub_message(f->bridge->hub, id, id_len, data, len);
    } else if (is_canary(f, channel, channel_len) && f->canary_sent_ms) {
        f->canary_sent_ms = 0;
        timer_start(f->canary, CANARY_EVERY_MS);
    } else if (f->bridge->on_hint && channel_len == f->bridges_len &&
               memcmp(channel, f->bridges_channel, channel_len) == 0) {
        f->bridge->on_hint(f->bridge, data, len);
    }
}

struct feed *feed_new(struct bridge *b)
{
    struct feed *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->bridge = b;
    f->canary_len =
        (size_t)snprintf(f->canary_channel, sizeof(f->canary_channel),
                         "%sthreadcast:canary:%s", b->conf->redis_prefix, b->instance);
    f->bridges_len =
        (size_t)snprintf(f->bridges_channel, sizeof(f->bridges_channel), "%s%s",
                         b->conf->redis_prefix, FEED_BRIDGES_CHANNEL);
    char name[64];
    snprintf(name, sizeof(name), "threadcast-bridge:%s:subscribe", b->instance);
    struct redis_options o = {.url = &b->conf->redis,
                              .name = name,
                              .tls_ca_file = b->conf->tls_ca_file,
                              .subscriber = true};
    static const struct redis_events events = {.on_ready = on_ready,
                                               .on_down = on_down,
                                               .on_subscribed = on_subscribed,
                                               .on_message = on_message,
                                               .on_refused = on_refused};
    f->canary = timer_new(b->loop, canary_send, f);
    f->redis = f->canary ? redis_new(b->loop, &o, &events, f) : NULL;
    if (!f->redis) {
        timer_free(f->canary);
        free(f);
        return NULL;
    }
    return f;
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    redis_free(f->redis);
    timer_free(f->canary);
    free(f);
}

bool feed_ready(const struct feed *f)
{
    return redis_state(f->redis) == REDIS_READY;
}

int64_t feed_heard_ms(const struct feed *f)
{
    return redis_heard_ms(f->redis);
}

bool feed_subscribe(struct feed *f, const char *thread_id)
{
    char channel[NAMES_KEY_SIZE];
    size_t len = names_channel(channel, f->bridge->conf->redis_prefix, thread_id);
    return redis_subscribe(f->redis, channel, len);
}

void feed_unsubscribe(struct feed *f, const char *thread_id)
{
    char channel[NAMES_KEY_SIZE];
    size_t len = names_channel(channel, f->bridge->conf->redis_prefix, thread_id);
    redis_unsubscribe(f->redis, channel, len);
}
