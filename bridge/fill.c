/* fill: closes a hole of a topic, or what was missed while Redis was away, from the log,
 * before anything later goes out. Entries are framed once and shared like live ones.
 * While a fill is under way the feed's messages are not queued: they are in the log too,
 * and the fill goes on until a page reaches what the feed has shown.
 *
 *   hole ─▶ page behind pos ─▶ publish each ─▶ (full? newer seen?) ─▶ page … ─▶ live
 *                └─ position not good ─▶ reset
 */
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/pages.h"
#include "bridge/reader.h"

enum { FILL_PAGE = 64 };

static void on_page(const struct redis_reply *entries, struct replay **shared, void *arg);

static void fill_ask(struct topic *t)
{
    struct bridge *b = t->hub->bridge;
    t->seen = (struct event_id){0, 0};
    t->fill_generation = t->generation;
    t->fill = page_read(reader_pages(b->reader), t->thread_id, t->pos, true, FILL_PAGE,
                        on_page, t);
    if (!t->fill)
        hub_reset(t, "out of memory");
}

void fill_start(struct topic *t)
{
    if (t->fill)
        return;
    t->hub->bridge->stats.fills++;
    fill_ask(t);
}

/* false: no memory for one of them */
static bool publish_entries(struct topic *t, const struct redis_reply *entries)
{
    struct bridge *b = t->hub->bridge;
    for (size_t i = 0; i < entries->count; i++) {
        struct event_id id;
        struct span json;
        struct event_view view;
        if (!page_entry(entries, i, t->thread_id, &id, &json, &view)) {
            b->stats.drop_other++;
            continue;
        }
        if (event_id_cmp(id, t->pos) <= 0)
            continue;
        struct msg *m = json.at ? msg_event(json.at, json.len, &view, NULL) : NULL;
        if (json.at && !m)
            return false;
        if (m) {
            hub_publish(t, m);
        } else {
            b->stats.drop_other++;
            hub_skip(t, id);
        }
        msg_unref(m);
    }
    return true;
}

static void on_page(const struct redis_reply *entries, struct replay **shared, void *arg)
{
    (void)shared; /* a live event is framed for all readers anyway */
    struct topic *t = arg;
    t->fill = NULL;
    if (!entries || !page_proves(entries, t->pos)) {
        hub_reset(t, "the log no longer holds what was missed");
        return;
    }
    if (!publish_entries(t, entries)) {
        hub_reset(t, "out of memory");
        return;
    }
    if (!t->live)
        return; /* those who were there have lost their places */
    bool reached = event_id_cmp(t->pos, t->seen) >= 0;
    if (t->state != TOPIC_SUBSCRIBED)
        t->refill = true; /* hub_subscribed goes on from here */
    else if (entries->count >= FILL_PAGE || !reached ||
             t->fill_generation != t->generation)
        fill_ask(t);
    else
        hub_log_ended(t);
}
