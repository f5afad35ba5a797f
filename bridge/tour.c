/* tour: see tour.h. Its place in the list is the node of the next stream, which
 * tours_step_over moves when that stream is closed. Never tells who somebody is: of a
 * subject a pseudonym is shown, the same as long as this process lives. */
#include "bridge/tour.h"

#include "bridge/address.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/reactors.h"
#include "common/clock.h"
#include "common/event.h"
#include "common/loop.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { STREAMS_A_TURN = 100, PSEUDONYM_BYTES = 6 };

struct tour {
    struct list node; /* set->tours */
    struct clients *set;
    struct list *at; /* the next stream; the head of set->all: the end */
    const struct tour_filter *filter;
    struct timer *again;
    struct buf lines;
    size_t listed;
    int64_t now_ms;
    tour_fn *fn;
    void *arg;
};

/* --- one line ----------------------------------------------------------------------- */

static void add_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, value, strlen(value));
}

static void add_number(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, ",\"%s\":%" PRId64, name, value);
}

static void add_pseudonym(struct buf *out, const struct client *c)
{
    const struct reactors *rs = c->set->bridge->reactors;
    const char *sub = c->identity->sub;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    buf_str(out, ",\"sub\":\"");
    if (HMAC(EVP_sha256(), rs->pseudonym_key, sizeof(rs->pseudonym_key),
             (const unsigned char *)sub, strlen(sub), digest, &len))
        for (unsigned i = 0; i < PSEUDONYM_BYTES; i++)
            buf_printf(out, "%02x", digest[i]);
    buf_char(out, '"');
}

static void add_peer(struct buf *out, const struct client *c)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);
    char text[ADDRESS_SIZE] = "";

    if (getpeername(c->fd, (struct sockaddr *)&addr, &len) == 0)
        address_host((struct sockaddr *)&addr, len, text);
    add_text(out, "peer", text);
}

static void add_thread(struct buf *out, const struct sub *s)
{
    static const char *const states[] = {
        [SUB_WAITING] = "waiting", [SUB_ASKING] = "asking", [SUB_REPLAYING] = "replaying",
        [SUB_AHEAD] = "ahead",     [SUB_LIVE] = "live",
    };
    const char *id = s->topic ? s->topic->thread_id : "";
    struct event_id pos = s->state == SUB_LIVE && s->topic ? s->topic->pos : s->pos;
    char position[EVENT_ID_SIZE] = "0";

    buf_str(out, "{\"id\":");
    buf_json(out, id, strlen(id));
    add_text(out, "state", s->topic ? states[s->state] : "left");
    if (s->has_pos && !event_id_zero(pos))
        event_id_format(&pos, position);
    if (s->has_pos)
        add_text(out, "position", position);
    buf_char(out, '}');
}

static void add_line(struct tour *t, const struct client *c)
{
    struct buf *out = &t->lines;
    int64_t blocked = c->writable ? t->now_ms - c->wrote_ms : 0;

    buf_printf(out, "{\"connection\":%" PRIu64 ",\"reactor\":%u", c->number,
               t->set->bridge->number);
    add_peer(out, c);
    add_pseudonym(out, c);
    add_number(out, "ageMs", t->now_ms - c->opened_ms);
    add_number(out, "quietMs", t->now_ms - c->wrote_ms);
    add_number(out, "blockedMs", blocked);
    add_number(out, "queueBytes", c->out.bytes);
    add_number(out, "queueLiveBytes", c->out.live);
    add_number(out, "events", (int64_t)c->events);
    add_number(out, "bytes", (int64_t)c->bytes);
    add_number(out, "merged", c->merged);
    if (c->ending)
        add_text(out, "ending", close_reason_text(c->reason));
    if (c->run_id)
        add_text(out, "run", c->run_id);
    buf_str(out, ",\"threads\":[");
    for (size_t i = 0; i < c->count; i++) {
        if (i)
            buf_char(out, ',');
        add_thread(out, &c->subs[i]);
    }
    buf_str(out, "]}\n");
}

/* --- the walk ----------------------------------------------------------------------- */

static bool reads(const struct client *c, const char *thread_id)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->subs[i].topic && strcmp(c->subs[i].topic->thread_id, thread_id) == 0)
            return true;
    return false;
}

static bool matches(const struct tour_filter *f, const struct client *c)
{
    return (!f->sub[0] || strcmp(f->sub, c->identity->sub) == 0) &&
           (!f->thread_id[0] || reads(c, f->thread_id));
}

static void finish(struct tour *t)
{
    list_remove(&t->node);
    timer_free(t->again);
    t->fn(&t->lines, t->listed, t->arg);
    free(t);
}

static void walk(void *arg)
{
    struct tour *t = arg;

    t->now_ms = clock_ms();
    for (int i = 0; i < STREAMS_A_TURN; i++) {
        if (t->at == &t->set->all || t->listed == t->filter->limit || t->lines.failed) {
            finish(t);
            return;
        }
        const struct client *c = LIST_ITEM(t->at, struct client, node);
        t->at = list_next(t->at);
        if (matches(t->filter, c)) {
            add_line(t, c);
            t->listed++;
        }
    }
    timer_start(t->again, 0);
}

bool tour_start(struct clients *set, const struct tour_filter *filter, tour_fn *fn,
                void *arg)
{
    struct tour *t = calloc(1, sizeof(*t));

    if (!t)
        return false;
    *t = (struct tour){.set = set, .filter = filter, .fn = fn, .arg = arg};
    t->again = timer_new(set->bridge->loop, walk, t);
    if (!t->again) {
        free(t);
        return false;
    }
    buf_init(&t->lines);
    t->at = list_next(&set->all);
    list_push(&set->tours, &t->node);
    walk(t);
    return true;
}

void tours_step_over(struct clients *set, const struct list *node)
{
    LIST_EACH(at, next, &set->tours) {
        struct tour *t = LIST_ITEM(at, struct tour, node);
        if (t->at == node)
            t->at = list_next(node);
    }
}

void tours_end(struct clients *set)
{
    LIST_EACH(at, next, &set->tours)
        finish(LIST_ITEM(at, struct tour, node));
}
