/* replay: history on its way to readers. What in a page is not an event of its thread is
 * stepped over and counted. */
#include "bridge/replay.h"

#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/pages.h"
#include "common/redis.h"

#include <stdlib.h>
#include <string.h>

struct replay {
    struct msg **msgs; /* room for every entry */
    size_t count;
    uint64_t merged;
    struct event_id end; /* of the last entry, whatever it held */
    /* the token that later ones are being merged into */
    struct buf json;
    struct event_view view;
    bool pending, failed;
    const char *thread_id;
};

static void add(struct replay *r, const char *json, size_t len,
                const struct event_view *view)
{
    struct msg *m = msg_event(json, len, view, NULL);
    if (m)
        r->msgs[r->count++] = m;
    else
        r->failed = true;
}

static void flush(struct replay *r)
{
    if (r->pending)
        add(r, r->json.data, r->json.len, &r->view);
    r->pending = false;
    buf_clear(&r->json);
}

/* The pending token is what `json` holds now. */
static void keep(struct replay *r)
{
    r->pending =
        !r->json.failed && event_check(r->json.data, r->json.len, r->thread_id,
                                       strlen(r->thread_id), &r->view) == EVENT_OK;
    r->failed |= !r->pending;
}

static bool merge_into_pending(struct replay *r, struct span json,
                               const struct event_view *view)
{
    struct buf merged;
    if (!r->pending ||
        !event_mergeable(r->json.data, r->json.len, &r->view, json.at, json.len, view))
        return false;
    buf_init(&merged);
    event_merge(&merged, r->json.data, r->json.len, &r->view, json.at, json.len, view);
    buf_fini(&r->json);
    r->json = merged;
    r->merged++;
    keep(r);
    return true;
}

static void entry(struct replay *r, struct span json, const struct event_view *view,
                  bool merge)
{
    if (merge && merge_into_pending(r, json, view))
        return;
    flush(r);
    if (merge && view->type == EVENT_TOKEN) {
        buf_add(&r->json, json.at, json.len);
        keep(r);
    } else {
        add(r, json.at, json.len, view);
    }
}

struct replay *replay_new(const struct redis_reply *entries, const char *thread_id,
                          struct event_id from, bool merge, struct bridge_stats *stats)
{
    struct replay *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    *r = (struct replay){.end = from, .thread_id = thread_id};
    buf_init(&r->json);
    r->msgs = calloc(entries->count + 1, sizeof(struct msg *));
    if (!r->msgs)
        goto fail;
    for (size_t i = 0; i < entries->count && !r->failed; i++) {
        struct event_id id;
        struct span json;
        struct event_view view;
        bool ours = page_entry(entries, i, thread_id, &id, &json, &view);
        if (!ours || !json.at)
            stats->drop_other++;
        if (!ours || event_id_cmp(id, r->end) <= 0)
            continue; /* the entry that proves the position */
        r->end = id;
        if (json.at)
            entry(r, json, &view, merge);
    }
    flush(r);
    if (!r->failed)
        return r;
fail:
    replay_free(r);
    return NULL;
}

void replay_free(struct replay *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->msgs && i < r->count; i++)
        msg_unref(r->msgs[i]);
    free(r->msgs);
    buf_fini(&r->json);
    free(r);
}

void replay_give(const struct replay *r, struct sub *s)
{
    struct client *c = s->client;
    struct bridge_stats *stats = &c->set->bridge->stats;
    for (size_t i = 0; i < r->count && !c->closed && !c->ending; i++)
        client_replay(s, r->msgs[i]);
    s->pos = r->end;
    c->merged += r->merged;
    stats->events_merged += r->merged;
    stats->replay_events += r->count;
}
