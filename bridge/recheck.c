/* recheck: readers who came in as a thread's owner are asked about again when ownership
 * may have changed; who is not the owner any more is told so and closed. */
#include "bridge/access.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/renew.h"
#include "common/strmap.h"

#include <string.h>

static void on_access(enum access_result result, void *arg)
{
    struct client *c = arg;
    c->pending--;
    if (c->closed)
        return;
    switch (result) {
    case ACCESS_GRANTED:
    case ACCESS_OWNER:
        break;
    case ACCESS_DENIED:
        renew_end(c, "forbidden", CLOSE_REVOKED);
        break;
    case ACCESS_UNKNOWN:
        c->recheck = true; /* the tick asks again */
        break;
    }
}

static void recheck_sub(struct bridge *b, struct sub *s)
{
    struct client *c = s->client;
    if (!s->by_owner || c->closed)
        return;
    c->pending++;
    access_check(b, c->identity, s->topic->thread_id, ACCESS_READ, on_access, c);
}

static void recheck_topic(struct bridge *b, struct topic *t)
{
    LIST_EACH(node, next, &t->subs)
        recheck_sub(b, LIST_ITEM(node, struct sub, node));
}

void hub_recheck(struct hub *h, const char *thread_id)
{
    struct topic *t;
    size_t pos = 0;
    if (thread_id) {
        t = strmap_get(h->topics, thread_id, strlen(thread_id));
        if (t)
            recheck_topic(h->bridge, t);
        return;
    }
    while ((t = strmap_next(h->topics, &pos, NULL)))
        recheck_topic(h->bridge, t);
}

void hub_recheck_client(struct hub *h, struct client *c)
{
    c->recheck = false;
    for (size_t i = 0; i < c->count; i++)
        if (c->subs[i].topic)
            recheck_sub(h->bridge, &c->subs[i]);
}

void hub_gone(struct hub *h, const char *thread_id)
{
    struct topic *t = strmap_get(h->topics, thread_id, strlen(thread_id));
    if (!t)
        return;
    LIST_EACH(node, next, &t->subs)
        renew_end(LIST_ITEM(node, struct sub, node)->client, "deleted", CLOSE_REVOKED);
}
