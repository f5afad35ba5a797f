/* A subscriber's replies: every one says itself what it is and which channel it is of;
 * nothing is routed by what was asked before. Acknowledgements come in the order of the
 * commands, and a different one means that the stream cannot be trusted. */
#include "common/redis_internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_word(const struct redis_reply *s, const char *word, size_t len)
{
    return s->type == REDIS_STRING && s->len == len && memcmp(s->str, word, len) == 0;
}

/* The command that this answers, or NULL when it does not: then the connection is lost.
 */
static char *take_channel(struct redis *r, const struct redis_reply *channel, bool leaves)
{
    struct redis_pending p;

    if (!redis_queue_pop(&r->queue, &p)) {
        redis_distrust(r, "an answer to nothing");
        return NULL;
    }
    if (channel && (p.leaves != leaves || channel->type != REDIS_STRING ||
                    channel->len != p.channel_len ||
                    memcmp(channel->str, p.channel, p.channel_len) != 0)) {
        redis_distrust(r, p.leaves == leaves ? "an answer for another channel"
                                             : "an answer to another command");
        free(p.channel);
        return NULL;
    }
    return p.channel;
}

static void on_refused(struct redis *r, const struct redis_reply *reply)
{
    const struct redis_pending *first = redis_queue_first(&r->queue);
    size_t len = first ? first->channel_len : 0;
    char text[200], *channel;

    redis_error_text(reply, text, sizeof(text));
    if (!first || !r->ev.on_refused) {
        redis_lose(r, "%s%s", first ? "SUBSCRIBE: " : "", text);
        return;
    }
    channel = take_channel(r, NULL, first->leaves);
    r->ev.on_refused(r, channel, len, text, r->arg);
    free(channel);
}

void redis_pubsub_reply(struct redis *r, const struct redis_reply *reply)
{
    const struct redis_reply *kind, *channel, *data;
    char *asked;

    if (reply->type == REDIS_FAILURE) {
        on_refused(r, reply);
        return;
    }
    if (reply->type != REDIS_ARRAY || reply->count != 3)
        goto unknown;
    kind = reply->items[0];
    channel = reply->items[1];
    data = reply->items[2];
    if (is_word(kind, "message", 7)) {
        if (channel->type != REDIS_STRING || data->type != REDIS_STRING)
            goto unknown;
        r->batch = true;
        r->counters.messages++;
        if (r->ev.on_message)
            r->ev.on_message(r, channel->str, channel->len, data->str, data->len, r->arg);
    } else if (is_word(kind, "subscribe", 9)) {
        asked = take_channel(r, channel, false);
        if (asked && r->ev.on_subscribed)
            r->ev.on_subscribed(r, channel->str, channel->len, r->arg);
        free(asked);
    } else if (is_word(kind, "unsubscribe", 11)) {
        free(take_channel(r, channel, true));
    } else {
        goto unknown;
    }
    return;
unknown:
    redis_distrust(r, "not a pub/sub message");
}

static bool pubsub_command(struct redis *r, bool leaves, const char *channel, size_t len)
{
    const char *verb = leaves ? "UNSUBSCRIBE" : "SUBSCRIBE", *argv[] = {verb, channel};
    const size_t lens[] = {strlen(verb), len};
    struct redis_pending p = {.channel_len = len, .leaves = leaves};

    if (r->state != REDIS_READY || !r->opt.subscriber)
        return false;
    p.channel = malloc(len + 1);
    if (!p.channel)
        return false;
    memcpy(p.channel, channel, len);
    p.channel[len] = '\0';
    if (redis_command(r, &p, 2, argv, lens))
        return true;
    free(p.channel);
    return false;
}

bool redis_subscribe(struct redis *r, const char *channel, size_t len)
{
    return pubsub_command(r, false, channel, len);
}

bool redis_unsubscribe(struct redis *r, const char *channel, size_t len)
{
    return pubsub_command(r, true, channel, len);
}
