/* probe: see probe.h. A timer goes through the plan; it looks after its reader every now
 * and then, too, so that the place of one who has left is free soon. The stream itself is
 * a client like any other: limits, stalls and drains are the same. */
#include "bridge/probe.h"

#include "bridge/bridge.h"
#include "bridge/client.h"
#include "bridge/clients.h"
#include "bridge/limits.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/loop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 250 };

struct probe {
    struct list node; /* bridge->probes */
    struct client *client;
    struct timer *timer;
    struct probe_plan plan;
    int64_t began_ms, due_ms;   /* of the next step */
    int64_t events, keepalives; /* said so far */
    uint32_t noise;
};

int64_t probe_ms(const struct probe_plan *plan)
{
    return plan->events * plan->every_ms + plan->keepalives * plan->keepalive_ms +
           plan->quiet_ms;
}

static void finish(struct probe *p)
{
    struct bridge *b = p->client->set->bridge;

    p->client->pending--; /* the reaper may free it */
    list_remove(&p->node);
    timer_free(p->timer);
    limits_probe_give(b->limits);
    b->stats.probes--;
    free(p);
}

/* Text that no proxy can make much smaller, or its blocks would look larger than they
 * are. */
static void add_padding(struct probe *p, struct buf *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (int64_t i = 0; i < p->plan.bytes; i++) {
        p->noise = p->noise * 1664525u + 1013904223u;
        buf_char(out, letters[p->noise >> 26]);
    }
}

static void say(struct client *c, struct buf *text)
{
    struct msg *m = text->failed ? NULL : msg_text(text->data, text->len);

    if (!client_push(c, m, false))
        client_close(c, CLOSE_MEMORY);
    msg_unref(m);
    buf_fini(text);
}

static void say_piece(struct probe *p)
{
    struct buf text;

    buf_init(&text);
    buf_printf(&text, "data: {\"n\":%" PRId64 ",\"ms\":%" PRId64 ",\"pad\":\"", p->events,
               clock_ms() - p->began_ms);
    add_padding(p, &text);
    buf_printf(&text, "\"}\nid: %" PRId64 "\n\n", p->events);
    say(p->client, &text);
}

static void say_end(struct probe *p)
{
    struct buf text;

    buf_init(&text);
    buf_printf(&text, "event: end\ndata: {\"ms\":%" PRId64 "}\n\n",
               clock_ms() - p->began_ms);
    say(p->client, &text);
    client_end(p->client, CLOSE_ENDED);
}

/* When the next thing is to be said. */
static void plan_next(struct probe *p)
{
    if (p->events < p->plan.events)
        p->due_ms += p->plan.every_ms;
    else if (p->keepalives < p->plan.keepalives)
        p->due_ms += p->plan.keepalive_ms;
    else
        p->due_ms += p->plan.quiet_ms;
}

/* What is due now; false: that was the end. */
static bool step(struct probe *p)
{
    if (p->events < p->plan.events) {
        p->events++;
        say_piece(p);
    } else if (p->keepalives < p->plan.keepalives) {
        p->keepalives++;
        client_keepalive(p->client);
    } else {
        say_end(p);
        return false;
    }
    plan_next(p);
    return true;
}

static void wait(struct probe *p)
{
    int64_t ms = p->due_ms - clock_ms();

    timer_start(p->timer, ms < 0 ? 0 : ms < LOOK_MS ? ms : LOOK_MS);
}

static void on_timer(void *arg)
{
    struct probe *p = arg;
    const struct client *c = p->client;
    bool over = c->closed || c->ending;

    if (!over && clock_ms() >= p->due_ms)
        over = !step(p) || c->closed;
    if (over)
        finish(p);
    else
        wait(p);
}

static void say_hello(struct client *c, const char *hello)
{
    struct buf text;

    buf_init(&text);
    buf_printf(&text, "event: hello\ndata: %s\n\n", hello);
    say(c, &text);
}

bool probe_start(struct client *c, const struct probe_plan *plan, const char *hello)
{
    struct bridge *b = c->set->bridge;
    struct probe *p = calloc(1, sizeof(*p));

    if (p)
        p->timer = timer_new(b->loop, on_timer, p);
    if (!p || !p->timer) {
        free(p);
        limits_probe_give(b->limits);
        client_close(c, CLOSE_MEMORY);
        return false;
    }
    p->client = c;
    p->plan = *plan;
    p->began_ms = p->due_ms = clock_ms();
    c->pending++;
    c->silent = true;
    list_push(&b->probes, &p->node);
    b->stats.probes++;
    b->stats.probes_begun++;
    say_hello(c, hello);
    plan_next(p);
    wait(p);
    return true;
}

void probes_end(struct bridge *b)
{
    LIST_EACH(node, next, &b->probes)
        finish(LIST_ITEM(node, struct probe, node));
}
