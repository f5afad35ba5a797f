/* One connection under test and all that it said. */
#ifndef THREADCAST_TEST_REDIS_PROBE_H
#define THREADCAST_TEST_REDIS_PROBE_H

#include "common/redis.h"
#include "test_wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct probe {
    struct loop *loop;
    struct redis_url url;
    struct redis *redis;
    int ready, down, subscribed, messages, batches, refused;
    char why[320];     /* of the last on_down or on_refused */
    char channel[128]; /* of the last message */
    char data[256];
    int replies, nulls; /* of commands sent with probe_reply */
    char reply[256];    /* the last one's text */
    int until;          /* what probe_reached waits for */
    int *counter;
};

static inline void probe_on_ready(struct redis *r, void *arg)
{
    (void)r;
    ((struct probe *)arg)->ready++;
}

static inline void probe_on_down(struct redis *r, const char *why, void *arg)
{
    struct probe *p = arg;

    (void)r;
    p->down++;
    snprintf(p->why, sizeof(p->why), "%s", why);
}

static inline void probe_on_subscribed(struct redis *r, const char *channel, size_t len,
                                       void *arg)
{
    struct probe *p = arg;

    (void)r;
    p->subscribed++;
    snprintf(p->channel, sizeof(p->channel), "%.*s", (int)len, channel);
}

static inline void probe_on_message(struct redis *r, const char *channel,
                                    size_t channel_len, const char *data, size_t len,
                                    void *arg)
{
    struct probe *p = arg;

    (void)r;
    p->messages++;
    snprintf(p->channel, sizeof(p->channel), "%.*s", (int)channel_len, channel);
    snprintf(p->data, sizeof(p->data), "%.*s", (int)len, data);
}

static inline void probe_on_batch_end(struct redis *r, void *arg)
{
    (void)r;
    ((struct probe *)arg)->batches++;
}

static inline void probe_on_refused(struct redis *r, const char *channel, size_t len,
                                    const char *why, void *arg)
{
    struct probe *p = arg;

    (void)r;
    p->refused++;
    snprintf(p->channel, sizeof(p->channel), "%.*s", (int)len, channel);
    snprintf(p->why, sizeof(p->why), "%s", why);
}

static const struct redis_events probe_events = {
    .on_ready = probe_on_ready,
    .on_down = probe_on_down,
    .on_subscribed = probe_on_subscribed,
    .on_message = probe_on_message,
    .on_batch_end = probe_on_batch_end,
    .on_refused = probe_on_refused,
};

static inline void probe_reply(struct redis *r, const struct redis_reply *reply,
                               void *arg)
{
    struct probe *p = arg;

    (void)r;
    if (!reply) {
        p->nulls++;
        return;
    }
    p->replies++;
    if (reply->type == REDIS_INTEGER)
        snprintf(p->reply, sizeof(p->reply), "%lld", (long long)reply->integer);
    else
        snprintf(p->reply, sizeof(p->reply), "%s", reply->str ? reply->str : "");
}

static inline bool probe_reached(void *arg)
{
    struct probe *p = arg;

    return *p->counter >= p->until;
}

/* Runs the loop until a counter of the probe's has the value, at most 10 s. */
static inline bool probe_wait(struct probe *p, int *counter, int value)
{
    p->counter = counter;
    p->until = value;
    return test_wait(p->loop, probe_reached, p, 10000);
}

/* A loop, a URL and a connection with options `o` (url is filled in). */
static inline void probe_open(struct probe *p, const char *url, struct redis_options o,
                              const struct redis_events *events)
{
    struct buf err;

    memset(p, 0, sizeof(*p));
    buf_init(&err);
    p->loop = loop_new();
    if (!redis_url_parse(url, &p->url, &err)) {
        fprintf(stderr, "test: %s: %s\n", url, err.data);
        abort();
    }
    buf_fini(&err);
    o.url = &p->url;
    p->redis = redis_new(p->loop, &o, events ? events : &probe_events, p);
}

static inline void probe_close(struct probe *p)
{
    redis_free(p->redis);
    test_turns(p->loop, 3);
    loop_free(p->loop);
    redis_url_fini(&p->url);
}

#endif
