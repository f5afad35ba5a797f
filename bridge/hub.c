/* hub: which threads have readers, and what the feed says about them.
 *
 *   a message's id          what happens
 *   next after topic->pos   hub_publish
 *   not behind topic->pos   dropped, counted as a duplicate
 *   anything else           a hole: fill.c reads the log before anything goes out
 *
 * Routing is by the channel's name in the message itself. */
#include "bridge/hub.h"

#include "bridge/bare.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/feed.h"
#include "bridge/gather.h"
#include "bridge/pages.h"
#include "bridge/sub.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/strmap.h"

#include <stdlib.h>
#include <string.h>

struct hub *hub_new(struct bridge *b)
{
    struct hub *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->bridge = b;
    h->topics = strmap_new_borrowing();
    h->bare = bare_new();
    if (!h->topics || !h->bare) {
        strmap_free(h->topics);
        bare_free(h->bare);
        free(h);
        return NULL;
    }
    return h;
}

void hub_free(struct hub *h)
{
    if (!h)
        return;
    size_t pos = 0;
    struct topic *t;
    while ((t = strmap_next(h->topics, &pos, NULL))) {
        page_cancel(t->fill);
        free(t);
    }
    strmap_free(h->topics);
    bare_free(h->bare);
    free(h);
}

static struct topic *topic_new(struct hub *h, const char *thread_id)
{
    size_t len = strlen(thread_id);
    struct topic *t = calloc(1, sizeof(*t) + len + 1);
    if (!t)
        return NULL;
    t->hub = h;
    t->verified_ms = h->bridge->clients->now_ms; /* a join reads the log anyway */
    t->run_live = true; /* a reader may come with a position behind a run's last event */
    list_init(&t->subs);
    memcpy(t->thread_id, thread_id, len + 1);
    t->place = gather_place(h->bridge->gather, thread_id, len);
    if (!strmap_set(h->topics, t->thread_id, len, t)) {
        free(t);
        return NULL;
    }
    h->bridge->stats.topics++;
    return t;
}

/* Gone when nobody reads it, but not before an outstanding SUBSCRIBE was answered: its
 * answer could else be taken for that of a later one. */
static void topic_drop(struct topic *t)
{
    struct hub *h = t->hub;
    if (!list_empty(&t->subs) || t->state == TOPIC_SUBSCRIBING || t->asking ||
        t->watching)
        return;
    if (t->state == TOPIC_SUBSCRIBED)
        feed_unsubscribe(h->bridge->feed, t->thread_id);
    page_cancel(t->fill);
    strmap_remove(h->topics, t->thread_id, strlen(t->thread_id));
    h->bridge->stats.topics--;
    free(t);
}

void topic_settle(struct topic *t)
{
    topic_drop(t);
}

static void topic_subscribe(struct topic *t)
{
    if (feed_subscribe(t->hub->bridge->feed, t->thread_id))
        t->state = TOPIC_SUBSCRIBING;
}

/* Known from the feed alone. */
static void show(struct topic *t, struct event_id id)
{
    t->shown++;
    if (event_id_cmp(id, t->seen) > 0)
        t->seen = id;
}

bool hub_live_left(struct topic *t)
{
    if (--t->live)
        return false;
    show(t, t->pos); /* pages under way may lack what those who were live have got */
    return true;
}

bool hub_join(struct hub *h, struct sub *s, const char *thread_id)
{
    struct topic *t = strmap_get(h->topics, thread_id, strlen(thread_id));
    if (!t && !(t = topic_new(h, thread_id)))
        return false;
    s->topic = t;
    s->state = SUB_WAITING;
    list_push(&t->subs, &s->node);
    gather_joined(h->bridge->gather, t->place);
    if (t->state == TOPIC_AWAY)
        topic_subscribe(t);
    else if (t->state == TOPIC_SUBSCRIBED)
        sub_start(s);
    return true;
}

void hub_leave(struct sub *s)
{
    struct topic *t = s->topic;
    if (!t)
        return;
    sub_stop(s);
    if (s->state >= SUB_AHEAD && hub_live_left(t)) {
        page_cancel(t->fill);
        t->fill = NULL;
    }
    list_remove(&s->node);
    gather_left(t->hub->bridge->gather, t->place);
    s->topic = NULL;
    topic_drop(t);
}

void hub_feed_ready(struct hub *h)
{
    size_t pos = 0;
    struct topic *t;
    while ((t = strmap_next(h->topics, &pos, NULL)))
        topic_subscribe(t);
}

void hub_feed_down(struct hub *h)
{
    size_t pos = 0;
    struct topic *t;
    while ((t = strmap_next(h->topics, &pos, NULL))) {
        t->refill |= t->state == TOPIC_SUBSCRIBED;
        t->state = TOPIC_AWAY;
        topic_drop(t);
    }
}

static bool has_asking(const struct topic *t)
{
    LIST_EACH(node, next, &t->subs)
        if (LIST_ITEM(node, struct sub, node)->state == SUB_ASKING)
            return true;
    return false;
}

void hub_subscribed(struct hub *h, const char *thread_id, size_t len)
{
    struct topic *t = strmap_get(h->topics, thread_id, len);
    if (!t || t->state != TOPIC_SUBSCRIBING)
        return;
    t->state = TOPIC_SUBSCRIBED;
    t->generation++;
    if (list_empty(&t->subs)) {
        topic_drop(t);
        return;
    }
    LIST_EACH(node, next, &t->subs) {
        struct sub *s = LIST_ITEM(node, struct sub, node);
        sub_start(s);
        sub_more(s);
    }
    if (t->refill && t->live)
        fill_start(t);
    t->refill = false;
    if (has_asking(t)) /* of the connection before: their question may have been lost */
        hub_ask_cursor(t);
}

void hub_refused(struct hub *h, const char *thread_id, size_t len)
{
    struct topic *t = strmap_get(h->topics, thread_id, len);
    if (!t || t->state != TOPIC_SUBSCRIBING)
        return;
    t->state = TOPIC_AWAY;
    LIST_EACH(node, next, &t->subs)
        client_refuse(LIST_ITEM(node, struct sub, node)->client,
                      "{\"reason\":\"redis refuses this thread\"}");
    topic_drop(t);
}

static void on_cursor(const struct thread_cursor *cursor, void *arg)
{
    struct topic *t = arg;
    t->asking = false;
    t->run_live |= cursor->live;
    if (cursor->ok)
        LIST_EACH(node, next, &t->subs)
            sub_on_cursor(LIST_ITEM(node, struct sub, node), cursor);
    topic_drop(t);
}

void hub_ask_cursor(struct topic *t)
{
    if (t->asking)
        return;
    t->asking = true;
    reader_cursor(t->hub->bridge->reader, t->thread_id, on_cursor, t);
}

void hub_tick(struct hub *h)
{
    size_t pos = 0;
    struct topic *t;
    if (!reader_ready(h->bridge->reader))
        return;
    while ((t = strmap_next(h->topics, &pos, NULL))) {
        if (t->state == TOPIC_AWAY && feed_ready(h->bridge->feed))
            topic_subscribe(t); /* its first try met a limit */
        else if (t->state == TOPIC_SUBSCRIBED && !t->asking && has_asking(t))
            hub_ask_cursor(t);
    }
    pages_ready(reader_pages(h->bridge->reader));
}

/* The log gave this reader more than the topic has come to: it skips what it has got.
 * When its place was passed and did not come by, Redis has forgotten it meanwhile. */
static void catch_up(struct sub *s, struct event_id id)
{
    int order = event_id_cmp(id, s->pos);
    if (order == 0)
        s->state = SUB_LIVE;
    else if (order > 0)
        sub_reset(s, "the log no longer holds what was read");
}

void hub_skip(struct topic *t, struct event_id id)
{
    t->pos = id;
    LIST_EACH(node, next, &t->subs) {
        struct sub *s = LIST_ITEM(node, struct sub, node);
        if (s->state == SUB_AHEAD)
            catch_up(s, id);
    }
}

void hub_log_ended(struct topic *t)
{
    LIST_EACH(node, next, &t->subs) {
        struct sub *s = LIST_ITEM(node, struct sub, node);
        if (s->state == SUB_AHEAD && event_id_cmp(s->pos, t->pos) > 0)
            sub_reset(s, "the log no longer holds what was read");
    }
}

void hub_publish(struct topic *t, struct msg *m)
{
    bool numbered = !event_id_zero(m->id);
    if (numbered)
        t->pos = m->id;
    t->heard_ms = t->hub->bridge->clients->now_ms;
    t->run_live |= m->run_len > 0;
    LIST_EACH(node, next, &t->subs) {
        struct sub *s = LIST_ITEM(node, struct sub, node);
        switch ((enum sub_state)s->state) {
        case SUB_WAITING:
        case SUB_ASKING:
            break;
        case SUB_REPLAYING:
            if (!numbered) /* not in the log: now or never */
                client_send(s, m);
            break;
        case SUB_AHEAD:
            if (numbered)
                catch_up(s, m->id);
            else
                client_send(s, m);
            break;
        case SUB_LIVE:
            client_send(s, m);
            break;
        }
    }
}

static void publish_json(struct topic *t, const char *json, size_t len,
                         const struct event_view *view)
{
    struct msg *m = msg_event(json, len, view, NULL);
    if (!m) { /* the next id shows the hole, and the log has the event */
        t->hub->bridge->stats.drop_other++;
        return;
    }
    clients_saw(t->hub->bridge->clients, view->ts);
    hub_publish(t, m);
    msg_unref(m);
}

static void count_drop(struct bridge_stats *stats, enum event_check check)
{
    switch (check) {
    case EVENT_OK:
        return;
    case EVENT_TOO_LARGE:
        stats->drop_too_large++;
        return;
    case EVENT_NOT_JSON:
    case EVENT_NOT_OBJECT:
    case EVENT_TOO_DEEP:
        stats->drop_not_json++;
        return;
    case EVENT_WRONG_THREAD:
        stats->drop_wrong_thread++;
        return;
    case EVENT_DUPLICATE_KEY:
    case EVENT_BAD_FIELD:
        stats->drop_other++;
        return;
    }
}

void hub_message(struct hub *h, const char *thread_id, size_t id_len, const char *data,
                 size_t len)
{
    struct bridge_stats *stats = &h->bridge->stats;
    struct topic *t = strmap_get(h->topics, thread_id, id_len);
    struct event_view view;
    if (!t || t->state != TOPIC_SUBSCRIBED)
        return; /* left meanwhile, or from before this subscription */
    stats->events_in++;
    enum event_check check = event_check(data, len, thread_id, id_len, &view);
    if (check != EVENT_OK) {
        count_drop(stats, check);
        return;
    }
    if (event_id_zero(view.id)) {
        stats->events_bare++;
        bare_seen(h->bare, h->bridge->conf->redis_prefix, t->thread_id, clock_ms());
        publish_json(t, data, len, &view);
        return;
    }
    if (!t->live || t->fill) {
        show(t, view.id);
        return; /* the log has it */
    }
    if (event_id_follows(t->pos, view.id)) {
        publish_json(t, data, len, &view);
    } else if (view.id.epoch == t->pos.epoch && view.id.n <= t->pos.n) {
        stats->drop_duplicate++;
    } else {
        stats->holes++;
        fill_start(t);
        show(t, view.id);
    }
}

void hub_reset(struct topic *t, const char *why)
{
    LIST_EACH(node, next, &t->subs) {
        struct sub *s = LIST_ITEM(node, struct sub, node);
        if (s->state >= SUB_AHEAD)
            sub_reset(s, why);
    }
    page_cancel(t->fill);
    t->fill = NULL;
    t->pos = (struct event_id){0, 0};
}
