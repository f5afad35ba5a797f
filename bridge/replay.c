/* replay: history on its way to one reader. Entries were checked when they were read out
 * of the page; what is not an event of this thread is stepped over and counted. */
#include "bridge/replay.h"

#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/pages.h"

#include <string.h>

/* The token that later ones are being merged into. */
struct pending {
    struct buf json;
    struct event_view view;
    bool used;
};

static void queue(struct sub *s, const char *json, size_t len,
                  const struct event_view *view)
{
    struct msg *m = msg_event(json, len, view, NULL);
    if (m)
        client_replay(s, m);
    else
        client_close(s->client, CLOSE_MEMORY);
    msg_unref(m);
    s->client->set->bridge->stats.replay_events++;
}

static void flush(struct sub *s, struct pending *p)
{
    if (p->used)
        queue(s, p->json.data, p->json.len, &p->view);
    p->used = false;
    buf_clear(&p->json);
}

static bool view_again(const struct sub *s, struct pending *p)
{
    const char *thread_id = s->topic->thread_id;
    return !p->json.failed && event_check(p->json.data, p->json.len, thread_id,
                                          strlen(thread_id), &p->view) == EVENT_OK;
}

static void keep(struct sub *s, struct pending *p, struct span json)
{
    buf_add(&p->json, json.at, json.len);
    p->used = view_again(s, p);
    if (!p->used)
        client_close(s->client, CLOSE_MEMORY);
}

static void merge(struct sub *s, struct pending *p, struct span json,
                  const struct event_view *view)
{
    struct buf merged;
    buf_init(&merged);
    event_merge(&merged, p->json.data, p->json.len, &p->view, json.at, json.len, view);
    buf_fini(&p->json);
    p->json = merged;
    s->client->merged++;
    s->client->set->bridge->stats.events_merged++;
    if (!view_again(s, p)) {
        p->used = false;
        client_close(s->client, CLOSE_MEMORY);
    }
}

static void entry(struct sub *s, struct pending *p, struct span json,
                  const struct event_view *view)
{
    if (p->used &&
        event_mergeable(p->json.data, p->json.len, &p->view, json.at, json.len, view)) {
        merge(s, p, json, view);
        return;
    }
    flush(s, p);
    if (s->client->merge && view->type == EVENT_TOKEN)
        keep(s, p, json);
    else
        queue(s, json.at, json.len, view);
}

void replay_page(struct sub *s, const struct redis_reply *entries)
{
    struct pending p = {.used = false};
    struct bridge_stats *stats = &s->client->set->bridge->stats;
    buf_init(&p.json);
    for (size_t i = 0; i < entries->count && !s->client->closed; i++) {
        struct event_id id;
        struct span json;
        struct event_view view;
        if (!page_entry(entries, i, s->topic->thread_id, &id, &json, &view)) {
            stats->drop_other++;
            continue;
        }
        if (event_id_cmp(id, s->pos) <= 0)
            continue; /* the entry that proves the position */
        s->pos = id;
        if (json.at)
            entry(s, &p, json, &view);
        else
            stats->drop_other++;
    }
    if (!s->client->closed)
        flush(s, &p);
    buf_fini(&p.json);
}
