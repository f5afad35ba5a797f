/* pages: at most `at_once` reads of logs are under way; the others wait in order. A page
 * belongs to who asked (sub or topic) until its answer comes or it is cancelled.
 *
 *   page_read ─▶ waiting ─▶ asked ─▶ fn      (asked ─lost─▶ waiting again)
 */
#include "bridge/pages.h"

#include "bridge/bridge.h"
#include "common/list.h"
#include "common/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pages {
    struct bridge *bridge;
    struct redis *redis;
    struct list waiting;
    size_t asked, at_once, waits;
};

struct page {
    struct list node; /* in waiting */
    struct pages *owner;
    page_fn *fn; /* NULL: cancelled while it was under way */
    void *arg;
    struct event_id from;
    bool inclusive, asked;
    int count;
    char thread_id[THREAD_ID_MAX + 1];
};

struct pages *pages_new(struct bridge *b, struct redis *r, size_t at_once)
{
    struct pages *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->bridge = b;
    p->redis = r;
    p->at_once = at_once;
    list_init(&p->waiting);
    return p;
}

void pages_free(struct pages *p)
{
    free(p);
}

size_t pages_waiting(const struct pages *p)
{
    return p->waits;
}

static void pump(struct pages *p);

static void wait_again(struct page *page)
{
    page->asked = false;
    list_push(&page->owner->waiting, &page->node);
    page->owner->waits++;
}

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct page *page = arg;
    struct pages *p = page->owner;
    p->asked--;
    if (!page->fn) {
        free(page);
    } else if (!reply || reply->type != REDIS_ARRAY) {
        if (reply)
            p->bridge->stats.redis_errors++;
        wait_again(page); /* lost, LOADING, …: asked again by pages_ready or the tick */
        return;
    } else {
        page_fn *fn = page->fn;
        void *fn_arg = page->arg;
        free(page);
        fn(reply, fn_arg);
    }
    pump(p);
}

static bool ask(struct page *page)
{
    char key[NAMES_KEY_SIZE], from[EVENT_ID_SIZE + 1] = "-", count[16];
    struct pages *p = page->owner;
    names_log(key, p->bridge->conf->redis_prefix, page->thread_id);
    if (!event_id_zero(page->from)) {
        from[0] = '(';
        event_id_format(&page->from, from + 1);
    }
    snprintf(count, sizeof(count), "%d", page->count);
    const char *start = event_id_zero(page->from) || !page->inclusive ? from : from + 1;
    return redis_sendv(p->redis, on_reply, page, "XRANGE", key, start, "+", "COUNT",
                       count, NULL);
}

static void pump(struct pages *p)
{
    while (p->asked < p->at_once && !list_empty(&p->waiting)) {
        struct page *page = LIST_ITEM(p->waiting.next, struct page, node);
        if (redis_state(p->redis) != REDIS_READY || !ask(page))
            return; /* pages_ready comes */
        list_remove(&page->node);
        page->asked = true;
        p->waits--;
        p->asked++;
        p->bridge->stats.replays++;
    }
}

void pages_ready(struct pages *p)
{
    pump(p);
}

struct page *page_read(struct pages *p, const char *thread_id, struct event_id from,
                       bool inclusive, int count, page_fn *fn, void *arg)
{
    struct page *page = calloc(1, sizeof(*page));
    if (!page)
        return NULL;
    list_init(&page->node);
    page->owner = p;
    page->fn = fn;
    page->arg = arg;
    page->from = from;
    page->inclusive = inclusive;
    page->count = count;
    snprintf(page->thread_id, sizeof(page->thread_id), "%s", thread_id);
    wait_again(page);
    pump(p);
    return page;
}

void page_cancel(struct page *page)
{
    if (!page)
        return;
    if (page->asked) {
        page->fn = NULL;
        return;
    }
    list_remove(&page->node);
    page->owner->waits--;
    free(page);
}

bool page_entry(const struct redis_reply *entries, size_t i, const char *thread_id,
                struct event_id *ret_id, struct span *ret_json,
                struct event_view *ret_view)
{
    const struct redis_reply *e = entries->items[i];
    if (e->type != REDIS_ARRAY || e->count != 2 || e->items[0]->type != REDIS_STRING ||
        e->items[1]->type != REDIS_ARRAY ||
        !event_id_parse(e->items[0]->str, e->items[0]->len, ret_id))
        return false;
    *ret_json = (struct span){NULL, 0};
    const struct redis_reply *fields = e->items[1];
    for (size_t f = 0; f + 1 < fields->count; f += 2) {
        const struct redis_reply *name = fields->items[f], *value = fields->items[f + 1];
        if (name->len != 1 || name->str[0] != 'e')
            continue;
        if (event_check(value->str, value->len, thread_id, strlen(thread_id), ret_view) ==
                EVENT_OK &&
            event_id_eq(ret_view->id, *ret_id))
            *ret_json = (struct span){value->str, value->len};
        return true;
    }
    return true;
}

bool page_proves(const struct redis_reply *entries, struct event_id pos)
{
    if (event_id_zero(pos))
        return true; /* all that is kept */
    struct event_id first;
    if (!entries->count)
        return false;
    const struct redis_reply *e = entries->items[0];
    if (e->type != REDIS_ARRAY || e->count != 2 || e->items[0]->type != REDIS_STRING ||
        !event_id_parse(e->items[0]->str, e->items[0]->len, &first))
        return false;
    return event_id_eq(first, pos) || event_id_follows(pos, first);
}
