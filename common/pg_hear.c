/* hear: start ─▶ pg_notify over the pool ─▶ sent ─▶ HEAR_MS without it ─▶ pg_drop
 *                      └── the pool is away: again, later         heard ─▶ nothing */
#include "common/pg_hear.h"

#include "common/loop.h"
#include "common/names.h"
#include "common/pg.h"
#include "common/pg_internal.h"

#include <stdlib.h>
#include <string.h>

enum { HEAR_MS = 3000, AGAIN_MS = 500 };

/* What is under way outlives who asked. */
struct asking {
    struct pg_hear *hear; /* NULL: nobody waits for it any more */
};

struct pg_hear {
    struct pg_pool *pool;
    struct buf channel;
    struct timer *timer;
    struct pg *listen;     /* borrowed while it is asked about */
    struct asking *asking; /* the last question, while it has no answer */
    char word[UUID_SIZE];
    bool sent;
};

static void forget(struct pg_hear *h)
{
    if (h->asking)
        h->asking->hear = NULL;
    h->asking = NULL;
    h->sent = false;
}

static void on_sent(enum pg_outcome outcome, const struct pg_result *res,
                    const struct pg_error *err, void *arg)
{
    struct asking *a = arg;
    struct pg_hear *h = a->hear;

    (void)res, (void)err;
    free(a);
    if (!h)
        return;
    h->asking = NULL;
    h->sent = outcome == PG_OK;
    if (h->listen)
        timer_start(h->timer, h->sent ? HEAR_MS : AGAIN_MS);
}

static void ask(struct pg_hear *h)
{
    const char *params[] = {h->channel.data, h->word};

    h->asking = calloc(1, sizeof(*h->asking));
    if (h->asking) {
        h->asking->hear = h;
        if (pg_pool_query(h->pool, "SELECT pg_notify($1, $2)", 2, params, HEAR_MS,
                          on_sent, h->asking))
            return;
    }
    free(h->asking);
    h->asking = NULL;
    timer_start(h->timer, AGAIN_MS);
}

static void on_timer(void *arg)
{
    struct pg_hear *h = arg;
    struct pg *listen = h->listen;

    if (!h->sent) {
        ask(h);
        return;
    }
    pg_hear_stop(h);
    pg_drop(listen, "LISTEN hears nothing through its pooler: set DATABASE_LISTEN_URL to "
                    "the address of the server itself");
}

struct pg_hear *pg_hear_new(struct loop *l, struct pg_pool *pool, const char *schema)
{
    struct pg_hear *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->pool = pool;
    buf_init(&h->channel);
    pg_channel_prefix(&h->channel, schema);
    buf_str(&h->channel, PG_HEAR_CHANNEL);
    h->timer = timer_new(l, on_timer, h);
    if (h->timer && !h->channel.failed)
        return h;
    pg_hear_free(h);
    return NULL;
}

void pg_hear_free(struct pg_hear *h)
{
    if (!h)
        return;
    forget(h);
    timer_free(h->timer);
    buf_fini(&h->channel);
    free(h);
}

void pg_hear_start(struct pg_hear *h, struct pg *listen)
{
    pg_hear_stop(h);
    if (!pg_is_pooled(listen))
        return;
    h->listen = listen;
    uuid_new(h->word);
    ask(h);
}

void pg_hear_stop(struct pg_hear *h)
{
    forget(h);
    timer_stop(h->timer);
    h->listen = NULL;
}

bool pg_hear_proven(const struct pg_hear *h)
{
    return !h->listen;
}

bool pg_hear_notify(struct pg_hear *h, const char *channel, const char *payload)
{
    if (strcmp(channel, PG_HEAR_CHANNEL) != 0)
        return false;
    if (h->listen && strcmp(payload, h->word) == 0)
        pg_hear_stop(h);
    return true;
}
