/* hub: the threads that have readers. One subscription per thread however many readers,
 * dropped with the last one. Between the feed and the clients:
 *
 *   feed ─▶ hub_message ─▶ (duplicate? hole? ─▶ fill) ─▶ hub_publish ─▶ client_send
 *
 * Fan-out frees nothing, writes to no socket and parses nothing. */
#ifndef THREADCAST_HUB_H
#define THREADCAST_HUB_H

#include "bridge/client.h"
#include "common/event.h"
#include "common/list.h"

#include <stdbool.h>
#include <stddef.h>

struct bridge;
struct page;
struct strmap;

enum topic_state {
    TOPIC_AWAY,        /* no connection to Redis */
    TOPIC_SUBSCRIBING, /* SUBSCRIBE was sent */
    TOPIC_SUBSCRIBED,
};

struct topic {
    struct hub *hub;
    struct list subs;     /* struct sub.node */
    struct event_id pos;  /* every live sub has got all up to here */
    struct event_id seen; /* greatest id the feed has shown and we did not pass on; in a
                             fill: since its page was asked for */
    uint32_t shown;       /* counts those, so that an invented id cannot hide another, and
                             how often the last live sub has gone */
    struct page *fill;    /* the read that closes a hole, or NULL */
    enum topic_state state;
    bool asking;   /* for the cursor */
    bool refill;   /* Redis came back: everything since may be missing */
    bool run_live; /* a run may be live, as far as we have heard (watch.c) */
    bool watching; /* live_ask is under way */
    int64_t heard_ms, watched_ms, verified_ms, stalled_ms;
    uint32_t live;       /* subs that are LIVE or AHEAD */
    uint32_t generation; /* counts subscriptions: a page read before one proves nothing */
    uint32_t fill_generation;
    uint32_t recorded; /* the subscription whose live runs Postgres was asked about */
    uint32_t place;    /* in bridge->gather */
    char thread_id[];  /* as long as it is: there is one of these for every thread */
};

struct hub {
    struct bridge *bridge;
    struct strmap *topics; /* thread id → struct topic */
    struct bare *bare;
};

struct hub *hub_new(struct bridge *b);
void hub_free(struct hub *h);

/* Puts a sub on its thread (made when it is the first). false: no memory. */
bool hub_join(struct hub *h, struct sub *s, const char *thread_id);
/* Takes it off; the last one unsubscribes the thread. */
void hub_leave(struct sub *s);

/* One of its LIVE or AHEAD subs is that no more; true: it was the last. */
bool hub_live_left(struct topic *t);

/* News from the feed. */
void hub_feed_ready(struct hub *h);
void hub_feed_down(struct hub *h);
void hub_subscribed(struct hub *h, const char *thread_id, size_t len);
/* Redis does not let us read that channel: its readers are told `busy`. */
void hub_refused(struct hub *h, const char *thread_id, size_t len);
void hub_message(struct hub *h, const char *thread_id, size_t id_len, const char *data,
                 size_t len);

/* Gives one message to every live reader of a topic, and moves its position. */
void hub_publish(struct topic *t, struct msg *m);
/* Moves its position past an entry of the log that is no event. */
void hub_skip(struct topic *t, struct event_id id);
/* A fill has read the log to its end: whoever is still ahead of that has lost its place.
 */
void hub_log_ended(struct topic *t);
/* Every reader of the topic has lost its place: `reset`, then as with since=run. */
void hub_reset(struct topic *t, const char *why);

/* Asks where the live runs stand; all subs that are ASKING get the answer. */
void hub_ask_cursor(struct topic *t);

/* Asks again whether readers who came in as owners still are; NULL: every thread. */
void hub_recheck(struct hub *h, const char *thread_id);
void hub_recheck_client(struct hub *h, struct client *c);
/* The thread is no more: all its readers are told so and closed. */
void hub_gone(struct hub *h, const char *thread_id);
/* Asks again where Redis did not answer; from the tick. */
void hub_tick(struct hub *h);

/* An answer that pointed at the topic is here: it may go now, if nobody reads it. */
void topic_settle(struct topic *t);

/* fill.c: reads what lies between the topic's position and the feed. */
void fill_start(struct topic *t);

#endif
