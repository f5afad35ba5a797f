/* sub: from "wants to read this thread" to "is live", without a gap and without a
 * duplicate:
 *
 *   subscribe ─▶ cursor (when no id was given) ─▶ page, page, … ─▶ live
 *
 * The channel is subscribed before the log is read, so what is published behind a page
 * reaches the feed. A page is joined to the feed when it goes at least as far. Must never
 * write to the socket. */
#include "bridge/sub.h"

#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/feed.h"
#include "bridge/hub.h"
#include "bridge/pages.h"
#include "bridge/replay.h"
#include "bridge/run_state.h"

#include <stdio.h>
#include <string.h>

enum {
    PAGE_FIRST = 4,         /* entries, before we know how large they are */
    PAGE_GROWTH = 4,        /* at most so many times the last page */
    PAGE_BYTES = 256 << 10, /* aim */
    PAGE_MIN = 1,
    QUEUE_LOW_MARK = 64 << 10 /* bytes left to write when the next page is read */
};

static void on_page(const struct redis_reply *entries, struct replay **shared, void *arg);

/* Have all threads of this stream been found? Then it can no longer be refused. */
static void check_joined(struct client *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->subs[i].state < SUB_REPLAYING)
            return;
    if (!c->ending)
        c->by_ms = 0;
}

/* Nothing was given and nothing replayed: a reconnect should have a position. What has
 * no id (a bare event) gives none. */
static void say_ready(struct client *c)
{
    char position[POSITION_SIZE], json[POSITION_SIZE + 16];
    if (c->greeted)
        return;
    for (size_t i = 0; i < c->count; i++) {
        const struct sub *s = &c->subs[i];
        if (s->since == SINCE_ID || s->since == SINCE_UNKNOWN || s->state < SUB_AHEAD)
            return;
    }
    if (!client_position(c, position))
        return;
    c->greeted = true;
    snprintf(json, sizeof(json), "{\"at\":\"%s\"}", position);
    client_say(c, "ready", json, 0);
}

static struct event_id feed_at(const struct topic *t)
{
    return t->live ? t->pos : t->seen;
}

/* Has the feed shown what this page could not hold yet? An id that it had shown before
 * the page was asked for, and that the page does not hold, was logged by nobody. */
static bool behind_feed(const struct sub *s)
{
    const struct topic *t = s->topic;
    struct event_id feed = feed_at(t);
    if (event_id_cmp(s->pos, feed) >= 0)
        return false;
    return t->live ? !event_id_eq(feed, s->asked) : t->shown != s->shown;
}

/* A read to the log's end, asked for when the feed had shown what the live readers got,
 * ends before that: the log has lost it, or it was never there. What comes behind it
 * would look like the next event to this reader. */
static bool ends_short(const struct sub *s)
{
    return s->topic->live && event_id_cmp(s->pos, s->topic->pos) < 0;
}

static void go_live(struct sub *s)
{
    struct topic *t = s->topic;
    if (!t->live++) {
        t->pos = s->pos;
        s->state = SUB_LIVE;
    } else {
        s->state = event_id_cmp(s->pos, t->pos) > 0 ? SUB_AHEAD : SUB_LIVE;
    }
    say_ready(s->client);
    client_poll(s->client);
}

static void sub_page(struct sub *s, int count)
{
    struct bridge *b = s->client->set->bridge;
    s->asked = feed_at(s->topic);
    s->shown = s->topic->shown;
    s->generation = s->topic->generation;
    s->page_count = (uint16_t)count;
    s->page = page_read(reader_pages(b->reader), s->topic->thread_id, s->pos, !s->proven,
                        count, on_page, s);
    if (!s->page)
        client_close(s->client, CLOSE_MEMORY);
}

/* One page at a time for one reader, and none before every thread of its stream has a
 * position: what it got before that could not be resumed. */
static bool may_read(const struct client *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->subs[i].page || !c->subs[i].has_pos)
            return false;
    return true;
}

void sub_more(struct sub *s)
{
    if (s->state != SUB_REPLAYING || s->client->closed || s->client->ending ||
        s->client->out.bytes >= QUEUE_LOW_MARK || !may_read(s->client))
        return;
    sub_page(s, s->page_count ? s->page_count : PAGE_FIRST);
}

static int next_count(const struct sub *s, size_t entries, size_t bytes)
{
    int64_t max = s->client->set->bridge->conf->replay_page;
    int64_t fit = bytes ? (int64_t)(entries * PAGE_BYTES / bytes) : max;
    if (fit > s->page_count * PAGE_GROWTH)
        fit = s->page_count * PAGE_GROWTH;
    if (fit < PAGE_MIN)
        fit = PAGE_MIN;
    return (int)(fit < max ? fit : max);
}

static bool position_lost(struct sub *s, const struct redis_reply *entries)
{
    struct bridge_stats *stats = &s->client->set->bridge->stats;
    bool good = s->proven || page_proves(entries, s->pos);
    if (s->since == SINCE_ID && !s->client->greeted)
        *(good ? &stats->resume_hits : &stats->resume_misses) += 1;
    return !good;
}

/* The next page is that of the thread behind this one, so that all get on. */
static void read_on(struct client *c, const struct sub *last)
{
    size_t at = (size_t)(last - c->subs);
    for (size_t i = 1; i <= c->count; i++)
        sub_more(&c->subs[(at + i) % c->count]);
}

/* The page as messages, made by the first of those who share it. */
static bool give(struct sub *s, const struct redis_reply *entries, struct replay **shared)
{
    struct client *c = s->client;
    struct replay **frames = &shared[c->merge];
    if (!*frames)
        *frames = replay_new(entries, s->topic->thread_id, s->pos, c->merge,
                             &c->set->bridge->stats);
    if (*frames)
        replay_give(*frames, s);
    else
        client_close(c, CLOSE_MEMORY);
    return !c->closed && !c->ending;
}

static void on_page(const struct redis_reply *entries, struct replay **shared, void *arg)
{
    struct sub *s = arg;
    s->page = NULL;
    if (s->client->closed)
        return;
    if (!entries) {
        client_close(s->client, CLOSE_MEMORY);
        return;
    }
    if (position_lost(s, entries)) {
        sub_reset(s, "the position is no longer in the log");
        return;
    }
    check_joined(s->client);
    s->client->greeted |= s->since == SINCE_ID;
    size_t before = s->client->out.bytes;
    if (!give(s, entries, shared))
        return;
    bool full = entries->count >= s->page_count;
    bool behind = behind_feed(s);
    s->proven = event_id_zero(s->pos);
    s->page_count =
        (uint16_t)next_count(s, entries->count, s->client->out.bytes - before);
    bool subscribed = s->topic->state == TOPIC_SUBSCRIBED; /* else it goes on then */
    /* read before this subscription: something may lie between */
    bool early = s->generation != s->topic->generation;
    bool whole = subscribed && !full && !behind && !early;
    if (whole && ends_short(s)) /* it reads once more: meanwhile a fill may have got on */
        hub_reset(s->topic, "the log no longer holds what was read");
    else if (whole)
        go_live(s);
    if (subscribed || full || behind)
        read_on(s->client, s);
}

static void replay_from(struct sub *s, struct event_id pos, bool proven)
{
    s->pos = pos;
    s->has_pos = true;
    s->proven = proven;
    s->page_count = 0;
    s->state = SUB_REPLAYING;
    read_on(s->client, s);
}

void sub_start(struct sub *s)
{
    if (s->state != SUB_WAITING || s->client->closed)
        return;
    switch ((enum sub_since)s->since) {
    case SINCE_ID:
        replay_from(s, s->pos, false);
        break;
    case SINCE_UNKNOWN:
        sub_reset(s, "the position is not one of this thread");
        break;
    case SINCE_RUN:
    case SINCE_NOW:
        s->state = SUB_ASKING;
        hub_ask_cursor(s->topic);
        break;
    }
}

static void say_reset(struct sub *s)
{
    char json[160 + THREAD_ID_MAX];
    snprintf(json, sizeof(json), "{\"reason\":\"%s\",\"threadId\":\"%s\"}", s->reset,
             s->topic->thread_id);
    s->reset = NULL;
    client_say(s->client, "reset", json, 0);
    s->client->greeted = true;
    s->client->set->bridge->stats.resets++;
}

static void restart_from(struct sub *s, struct event_id pos)
{
    s->pos = pos;
    s->has_pos = true;
    say_reset(s);
    replay_from(s, pos, true);
}

/* The log that was lost may have been followed by a run that has ended already: what
 * stands behind the lost position in the log's own order was never seen either. */
static struct event_id after_loss(const struct sub *s, struct event_id run)
{
    return s->has_pos && event_id_cmp(s->pos, run) < 0 ? s->pos : run;
}

/* The stream of one run begins at that run, not at those that are live now. */
static void on_run_state(const struct run_state *state, void *arg)
{
    struct sub *s = arg;
    struct client *c = s->client;
    c->pending--;
    if (c->closed || s->state != SUB_ASKING || !state->ok)
        return; /* the tick asks again */
    if (state->live || (state->ended && state->held))
        restart_from(s, (struct event_id){state->began.epoch, state->began.n - 1});
    else /* what Redis no longer has, the next request gets from Postgres */
        client_close(c, CLOSE_ENDED);
}

void sub_on_cursor(struct sub *s, const struct thread_cursor *cursor)
{
    struct client *c = s->client;
    if (s->state != SUB_ASKING || c->closed)
        return;
    if (s->reset && c->run_id) {
        c->pending++;
        run_state_ask(c->set->bridge->reader, s->topic->thread_id, c->run_id,
                      on_run_state, s);
    } else if (s->reset) {
        restart_from(s, after_loss(s, cursor->run));
    } else {
        replay_from(s, s->since == SINCE_NOW ? cursor->tail : cursor->run, true);
    }
}

void sub_reset(struct sub *s, const char *why)
{
    struct topic *t = s->topic;
    sub_stop(s);
    if (s->state >= SUB_AHEAD) {
        if (s->state == SUB_LIVE)
            s->pos = t->pos; /* lost, but the truth: resumed, it is `reset` again */
        hub_live_left(t);
    }
    s->state = SUB_ASKING;
    s->since = SINCE_RUN;
    s->reset = why;
    hub_ask_cursor(t);
}

bool sub_expects(const struct sub *s)
{
    const struct bridge *b = s->client->set->bridge;
    int64_t since_ms = s->client->set->now_ms - b->conf->upstream_timeout_ms;
    switch ((enum sub_state)s->state) {
    case SUB_WAITING:
        return s->topic->state == TOPIC_SUBSCRIBING && feed_heard_ms(b->feed) > since_ms;
    case SUB_ASKING:
        return (s->topic->asking || s->client->pending) &&
               reader_heard_ms(b->reader) > since_ms;
    case SUB_REPLAYING: /* without a page it is another thread's turn */
        return !s->page ||
               (!page_refused(s->page) && reader_heard_ms(b->reader) > since_ms);
    case SUB_AHEAD:
    case SUB_LIVE:
        break;
    }
    return true;
}

void sub_stop(struct sub *s)
{
    page_cancel(s->page);
    s->page = NULL;
}
