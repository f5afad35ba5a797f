/* pending: between the agent's callbacks and the publisher. It must never lose an event
 * in silence: what it could not keep it says in `failed`. */
#include "worker/pending.h"

#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

struct item {
    struct list node;
    enum event_type type;
    int64_t ts_ms;
    struct buf data; /* a token's text, or the JSON of `content` */
};

void pending_init(struct pending *p)
{
    *p = (struct pending){0};
    list_init(&p->items);
}

static void item_free(struct item *it)
{
    list_remove(&it->node);
    buf_fini(&it->data);
    free(it);
}

void pending_clear(struct pending *p)
{
    LIST_EACH(node, tmp, &p->items)
        item_free(LIST_ITEM(node, struct item, node));
    pending_init(p);
}

static struct item *add(struct pending *p, enum event_type type, int64_t ts_ms)
{
    struct item *it = calloc(1, sizeof(*it));

    if (!it) {
        p->failed = true;
        return NULL;
    }
    it->type = type;
    it->ts_ms = ts_ms;
    buf_init(&it->data);
    list_push(&p->items, &it->node);
    p->count++;
    p->sealed = false;
    return it;
}

/* The last item, when it is text that may grow. */
static struct item *open_text(struct pending *p)
{
    struct item *it;

    if (p->sealed || list_empty(&p->items))
        return NULL;
    it = LIST_ITEM(p->items.prev, struct item, node);
    return it->type == EVENT_TOKEN && it->data.len < PENDING_TOKEN_MAX ? it : NULL;
}

void pending_text(struct pending *p, const char *text, size_t len, int64_t ts_ms)
{
    while (len > 0) {
        struct item *it = open_text(p);
        size_t piece = len;
        if (!it)
            it = add(p, EVENT_TOKEN, ts_ms);
        if (!it)
            return;
        if (piece > PENDING_TOKEN_MAX - it->data.len)
            piece = utf8_whole(text, PENDING_TOKEN_MAX - it->data.len);
        if (piece == 0) { /* not even one character fits: the next item */
            p->sealed = true;
            continue;
        }
        it->ts_ms = ts_ms;
        buf_add(&it->data, text, piece);
        p->failed |= it->data.failed;
        p->bytes += piece;
        text += piece;
        len -= piece;
    }
}

void pending_json(struct pending *p, enum event_type type, const char *json, size_t len,
                  int64_t ts_ms)
{
    struct item *it = add(p, type, ts_ms);

    if (!it)
        return;
    buf_add(&it->data, json, len);
    p->failed |= it->data.failed;
    p->bytes += len;
    p->urgent = true;
}

void pending_seal(struct pending *p)
{
    p->sealed = true;
}

void batch_fini(struct batch *b)
{
    buf_fini(&b->data);
    free(b->ends);
    *b = (struct batch){0};
}

bool pending_take(struct pending *p, const struct event_run *run, size_t max,
                  struct batch *ret_batch)
{
    size_t count = p->count < max ? p->count : max;
    struct batch b = {0};

    if (p->failed) /* an item may lack its end */
        return false;
    b.ends = calloc(count ? count : 1, sizeof(*b.ends));
    buf_init(&b.data);
    if (!b.ends)
        return false;
    LIST_EACH(node, tmp, &p->items) {
        struct item *it = LIST_ITEM(node, struct item, node);
        if (b.count == count)
            break;
        if (it->type == EVENT_TOKEN)
            event_token(&b.data, run, it->data.data, it->data.len, it->ts_ms);
        else
            event_json(&b.data, run, it->type, it->data.data, it->data.len, it->ts_ms);
        b.ends[b.count++] = b.data.len;
    }
    if (b.data.failed) {
        batch_fini(&b);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct item *it = LIST_ITEM(list_pop(&p->items), struct item, node);
        p->bytes -= it->data.len;
        p->count--;
        item_free(it);
    }
    p->urgent = p->urgent && p->count > 0;
    *ret_batch = b;
    return true;
}
