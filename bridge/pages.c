/* pages: at most `at_once` reads of logs are under way; the others wait in order. Readers
 * who want the same piece of the same log share one read: who asks while it waits joins
 * it, so a storm of reconnects costs two reads a thread, however many readers.
 *
 *   page_read ─▶ a read that waits (or joins one) ─▶ asked ─▶ fn for each
 *                                ▲                     │
 *                                └──── lost, LOADING ──┘
 *
 * A read under way is never joined: what the feed shows from now on may be missing in
 * it, and who asks now must not be told so too late. */
#include "bridge/pages.h"

#include "bridge/bridge.h"
#include "bridge/replay.h"
#include "common/list.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/strmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pages {
    struct bridge *bridge;
    struct redis *redis;
    struct list waiting;                   /* struct read.node */
    struct strmap *waiting_by_key, *asked; /* struct read by its key */
    size_t at_once;
    char trouble[64]; /* the last one that was logged */
};

/* One command. */
struct read {
    struct list node;    /* in pages->waiting */
    struct list readers; /* struct page.node */
    struct pages *owner;
    struct event_id from;
    bool inclusive;
    bool refused; /* an error, and not silence, was the last answer */
    int count;
    size_t key_len;
    char key[]; /* all of the above, behind the thread's name and a NUL */
};

/* One who waits for it. */
struct page {
    struct list node; /* in read->readers */
    struct read *read;
    page_fn *fn;
    void *arg;
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
    p->waiting_by_key = strmap_new_borrowing();
    p->asked = strmap_new_borrowing();
    if (p->waiting_by_key && p->asked)
        return p;
    pages_free(p);
    return NULL;
}

void pages_free(struct pages *p)
{
    if (!p)
        return;
    strmap_free(p->waiting_by_key);
    strmap_free(p->asked);
    free(p);
}

static void pump(struct pages *p);

/* Puts a read in the line; false: no memory. */
static bool read_wait(struct read *read)
{
    struct pages *p = read->owner;
    if (!strmap_set(p->waiting_by_key, read->key, read->key_len, read))
        return false;
    list_push(&p->waiting, &read->node);
    p->bridge->stats.replay_waiting++;
    return true;
}

static void read_leave_line(struct read *read)
{
    struct pages *p = read->owner;
    if (!list_linked(&read->node))
        return;
    list_remove(&read->node);
    strmap_remove(p->waiting_by_key, read->key, read->key_len);
    p->bridge->stats.replay_waiting--;
}

/* Redis did not answer: its readers wait again, with those who came meanwhile. */
static void read_again(struct read *read)
{
    struct pages *p = read->owner;
    struct read *line = strmap_get(p->waiting_by_key, read->key, read->key_len);
    struct list *node;
    if (!line && !list_empty(&read->readers) && read_wait(read))
        return;
    while ((node = list_pop(&read->readers))) {
        struct page *page = LIST_ITEM(node, struct page, node);
        if (line) {
            page->read = line;
            list_push(&line->readers, &page->node);
        } else {
            page_fn *fn = page->fn;
            void *arg = page->arg;
            free(page);
            fn(NULL, NULL, arg); /* no memory even to wait */
        }
    }
    free(read);
}

static void read_answer(struct read *read, const struct redis_reply *reply)
{
    struct replay *shared[2] = {NULL, NULL};
    struct list *node;
    while ((node = list_pop(&read->readers))) {
        struct page *page = LIST_ITEM(node, struct page, node);
        page_fn *fn = page->fn;
        void *arg = page->arg;
        free(page);
        fn(reply, shared, arg);
    }
    replay_free(shared[0]);
    replay_free(shared[1]);
    free(read);
}

/* Said when it is another trouble than the last one. */
static void complain(struct pages *p, const struct redis_reply *reply)
{
    const char *why = reply->type == REDIS_FAILURE ? reply->str : "odd reply";
    p->bridge->stats.redis_errors++;
    if (strncmp(p->trouble, why, sizeof(p->trouble) - 1) != 0)
        log_warn("redis refuses to read", LOG_S("reply", why));
    snprintf(p->trouble, sizeof(p->trouble), "%s", why);
}

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct read *read = arg;
    struct pages *p = read->owner;
    strmap_remove(p->asked, read->key, read->key_len);
    if (reply && reply->type == REDIS_ARRAY) {
        p->trouble[0] = '\0';
        read_answer(read, reply);
        pump(p);
        return;
    }
    read->refused = reply != NULL;
    if (reply)
        complain(p, reply);
    read_again(read); /* by pages_ready: a reconnect, or the tick */
}

static bool ask(struct read *read)
{
    char key[NAMES_KEY_SIZE], from[EVENT_ID_SIZE + 1] = "-", count[16];
    struct pages *p = read->owner;
    names_log(key, p->bridge->conf->redis_prefix, read->key);
    if (!event_id_zero(read->from)) {
        from[0] = '(';
        event_id_format(&read->from, from + 1);
    }
    snprintf(count, sizeof(count), "%d", read->count);
    const char *start = event_id_zero(read->from) || !read->inclusive ? from : from + 1;
    if (!strmap_set(p->asked, read->key, read->key_len, read))
        return false;
    if (redis_sendv(p->redis, on_reply, read, "XRANGE", key, start, "+", "COUNT", count,
                    NULL))
        return true;
    strmap_remove(p->asked, read->key, read->key_len);
    return false;
}

static void pump(struct pages *p)
{
    if (!p->redis || redis_state(p->redis) != REDIS_READY)
        return; /* pages_ready comes */
    LIST_EACH(node, next, &p->waiting) {
        struct read *read = LIST_ITEM(node, struct read, node);
        if (strmap_count(p->asked) >= p->at_once)
            return;
        if (strmap_get(p->asked, read->key, read->key_len))
            continue; /* when that one is back */
        if (!ask(read))
            return;
        read_leave_line(read);
        p->bridge->stats.replays++;
    }
}

void pages_ready(struct pages *p)
{
    pump(p);
}

void pages_close(struct pages *p)
{
    if (p)
        p->redis = NULL;
}

static struct read *read_new(struct pages *p, const char *key, size_t key_len,
                             struct event_id from, bool inclusive, int count)
{
    struct read *read = malloc(sizeof(*read) + key_len);
    if (!read)
        return NULL;
    *read = (struct read){.owner = p,
                          .from = from,
                          .inclusive = inclusive,
                          .count = count,
                          .key_len = key_len};
    memcpy(read->key, key, key_len);
    list_init(&read->node);
    list_init(&read->readers);
    if (read_wait(read))
        return read;
    free(read);
    return NULL;
}

struct page *page_read(struct pages *p, const char *thread_id, struct event_id from,
                       bool inclusive, int count, page_fn *fn, void *arg)
{
    char key[THREAD_ID_MAX + 72];
    size_t len = (size_t)snprintf(key, sizeof(key), "%s%c%" PRIu64 "-%" PRIu64 " %d %d",
                                  thread_id, '\0', from.epoch, from.n, inclusive, count);
    struct read *read = strmap_get(p->waiting_by_key, key, len);
    struct page *page = malloc(sizeof(*page));
    if (!page || (!read && !(read = read_new(p, key, len, from, inclusive, count)))) {
        free(page);
        return NULL;
    }
    *page = (struct page){.read = read, .fn = fn, .arg = arg};
    list_push(&read->readers, &page->node);
    pump(p);
    return page;
}

bool page_refused(const struct page *page)
{
    return page->read->refused;
}

void page_cancel(struct page *page)
{
    if (!page)
        return;
    struct read *read = page->read;
    list_remove(&page->node);
    free(page);
    if (list_linked(&read->node) && list_empty(&read->readers)) {
        read_leave_line(read);
        free(read);
    }
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
