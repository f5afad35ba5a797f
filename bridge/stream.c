/* stream: the door between HTTP and the event path. A lasting refusal is a status; a
 * transient one is a 200 that says `busy`, because a browser's EventSource gives up for
 * ever on any other status. */
#include "bridge/stream.h"

#include "bridge/access.h"
#include "bridge/advice.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/conn.h"
#include "bridge/hub.h"
#include "bridge/identity.h"
#include "bridge/legacy_stream.h"
#include "bridge/limits.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/revoked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stream_plan *stream_plan_new(struct request *r)
{
    char merge[8];
    struct stream_plan *plan = calloc(1, sizeof(*plan));
    if (!plan) {
        stream_busy(r, "out of memory");
        return NULL;
    }
    if (!stream_manner_read(r, &plan->manner)) {
        free(plan);
        return NULL;
    }
    int found = http_query_get(r->http.query, "merge", merge, sizeof(merge));
    plan->merge = !(found == 1 && strcmp(merge, "0") == 0);
    plan->request = request_ref(r);
    return plan;
}

void stream_plan_free(struct stream_plan *plan)
{
    request_unref(plan->request);
    free(plan);
}

static void begin_all(struct stream_plan *plan, enum sub_since since)
{
    for (size_t i = 0; i < plan->count; i++)
        plan->threads[i].since = since;
}

/* "17-3", or one for each thread: "17-3,0,18-1" */
static bool parse_ids(struct stream_plan *plan, const char *text, size_t len)
{
    const char *end = text + len;
    for (size_t i = 0; i < plan->count; i++) {
        struct stream_thread *t = &plan->threads[i];
        const char *comma = memchr(text, ',', (size_t)(end - text));
        bool last = i + 1 == plan->count;
        if (last != !comma)
            return false;
        size_t part = (size_t)((comma ? comma : end) - text);
        t->pos = (struct event_id){0, 0};
        bool none = part == 1 && *text == '0';
        if (!none && (!event_id_parse(text, part, &t->pos) || event_id_zero(t->pos)))
            return false;
        t->since = SINCE_ID;
        text = comma ? comma + 1 : end;
    }
    return true;
}

void stream_positions(struct stream_plan *plan)
{
    char since[POSITION_SIZE];
    struct span header = http_header(&plan->request->http, "last-event-id");
    int found = 0;
    if (!header.len)
        found = http_query_get(plan->request->http.query, "since", since, sizeof(since));
    if (!header.len && (found == 0 || (found == 1 && strcmp(since, "run") == 0))) {
        begin_all(plan, SINCE_RUN);
        return;
    }
    if (found == 1 && strcmp(since, "now") == 0) {
        begin_all(plan, SINCE_NOW);
        return;
    }
    bool ok = header.len ? parse_ids(plan, header.at, header.len)
              : found == 1 && strcmp(since, "0") == 0
                  ? (begin_all(plan, SINCE_ID), true)
                  : found == 1 && parse_ids(plan, since, strlen(since));
    plan->given = ok && (header.len || strcmp(since, "0") != 0);
    if (!ok)
        begin_all(plan, SINCE_UNKNOWN);
}

static void admitted(struct stream_plan *plan)
{
    struct request *r = plan->request;
    if (plan->denied) {
        request_error(r, 403, "forbidden", "This thread is not yours to read.");
    } else if (plan->unknown) {
        stream_busy(r, "the database does not answer");
    } else {
        plan->next(plan);
        return;
    }
    stream_plan_free(plan);
}

struct question {
    struct stream_plan *plan;
    size_t index;
};

static void on_access(enum access_result result, void *arg)
{
    struct question *q = arg;
    struct stream_plan *plan = q->plan;
    plan->denied |= result == ACCESS_DENIED;
    plan->unknown |= result == ACCESS_UNKNOWN;
    plan->threads[q->index].by_owner = result == ACCESS_OWNER;
    free(q);
    if (--plan->waiting == 0)
        admitted(plan);
}

void stream_admit(struct stream_plan *plan, void (*next)(struct stream_plan *plan))
{
    struct request *r = plan->request;
    plan->next = next;
    plan->owner_changes = r->bridge->owner_changes;
    plan->waiting = 1; /* ours, so that early answers do not end it */
    for (size_t i = 0; i < plan->count; i++) {
        struct question *q = malloc(sizeof(*q));
        if (!q) {
            plan->unknown = true;
            break;
        }
        *q = (struct question){plan, i};
        plan->waiting++;
        access_check(r->bridge, r->identity, plan->threads[i].thread_id, ACCESS_READ,
                     on_access, q);
    }
    if (--plan->waiting == 0)
        admitted(plan);
}

/* Takes the place in spec along. */
static struct client *take_socket(struct request *r, struct client_spec spec)
{
    struct bridge *b = r->bridge;
    origin_cors(r);
    spec.http10 = r->http.minor == 0;
    if (spec.http10)
        advice_http10(r);
    spec.identity = r->identity;
    spec.request_id = r->trace.request_id;
    spec.headers = r->extra.len ? r->extra.data : NULL;
    spec.fd = conn_detach(r);
    if (spec.fd >= 0)
        return client_new(b->clients, &spec);
    limits_seat_give(b->limits, &spec.seat);
    return NULL;
}

/* A place among the process's streams. NULL, or why there is none for now. */
static const char *take_seat(struct request *r, bool anyway, struct limit_seat *ret)
{
    char address[64];
    struct bridge_stats *stats = &r->bridge->stats;
    request_address(r, address);
    switch (limits_seat_take(r->bridge->limits, r->identity->sub, address, anyway, ret)) {
    case LIMIT_NONE:
        return NULL;
    case LIMIT_CLIENTS:
        stats->limit_clients++;
        return "too many streams";
    case LIMIT_ADDRESS:
        stats->limit_per_ip++;
        return "too many streams from this address";
    case LIMIT_USER:
        stats->limit_per_user++;
        return "too many streams of this user";
    case LIMIT_MEMORY:
        break;
    }
    return "out of memory";
}

/* Whose identity could not be found out. */
static bool is_somebody(struct request *r)
{
    static const char nobody[] = "nobody";
    if (!r->identity)
        r->identity = identity_new(nobody, strlen(nobody), INT64_MAX, INT64_MAX);
    return r->identity;
}

void stream_busy(struct request *r, const char *why)
{
    char json[128];
    struct client_spec spec = {.threads = 0};
    if (!r->conn)
        return;
    if (!is_somebody(r)) {
        request_error(r, 503, "busy", "Out of memory, try again.");
        return;
    }
    r->bridge->stats.busy++;
    if (!r->stream) {
        request_error(r, 503, "unavailable", why);
        return;
    }
    take_seat(r, true, &spec.seat);
    struct client *c = take_socket(r, spec);
    if (!c)
        return;
    snprintf(json, sizeof(json), "{\"reason\":\"%s\"}", why);
    client_say(c, "busy", json, 0);
    client_end(c, CLOSE_BUSY);
}

static const char *why_not(struct request *r, struct limit_seat *ret)
{
    if (r->bridge->leaving)
        return "the server is going away";
    if (r->scarce)
        return "no descriptors are left";
    return take_seat(r, false, ret);
}

/* While access was asked about; from here on the sweep finds it (revoke.c). */
static bool is_revoked(const struct request *r)
{
    struct revoked *revoked = r->bridge->revoked;
    return revoked && !r->identity->everything && revoked_covers(revoked, r->identity);
}

/* The older interface: who reads the run's list for this client. */
static struct client *read_older(struct client *c, const struct stream_plan *plan,
                                 bool postgres)
{
    struct legacy_spec spec = {.run_id = plan->older_id,
                               .last_id = plan->last_id,
                               .postgres = postgres,
                               .end = plan->older_end,
                               .thread_granted = plan->thread_granted};
    if (!c || !plan->older_id[0] || (c->older = legacy_stream_new(c, &spec)))
        return c;
    client_close(c, CLOSE_MEMORY);
    return NULL;
}

static struct client *open_client(struct stream_plan *plan, bool detached)
{
    struct request *r = plan->request;
    struct client_spec spec = {.ends = detached || plan->manner.poll || plan->run_id[0] ||
                                       plan->older_id[0],
                               .merge = plan->merge,
                               .manner = plan->manner,
                               .run_id = plan->run_id[0] ? plan->run_id : NULL,
                               .threads = plan->count};
    if (!r->conn)
        return NULL;
    if (is_revoked(r)) {
        auth_refuse(r, AUTH_REFUSED, "revoked");
        return NULL;
    }
    const char *why = why_not(r, &spec.seat);
    if (!why)
        return read_older(take_socket(r, spec), plan, detached);
    stream_busy(r, why);
    return NULL;
}

struct client *stream_open_detached(struct stream_plan *plan)
{
    struct client *c = open_client(plan, true);
    stream_plan_free(plan);
    return c;
}

static bool join(struct client *c, const struct stream_plan *plan)
{
    struct bridge *b = plan->request->bridge;
    if (!c->older) /* their pages rather wait for Redis */
        c->by_ms = b->clients->now_ms + b->conf->upstream_timeout_ms;
    for (size_t i = 0; i < plan->count; i++) {
        struct sub *s = &c->subs[i];
        s->since = plan->threads[i].since;
        s->pos = plan->threads[i].pos;
        s->has_pos = s->since == SINCE_ID;
        s->by_owner = plan->threads[i].by_owner;
        if (!hub_join(b->hub, s, plan->threads[i].thread_id))
            return false;
    }
    /* an owner may have changed between the answer and now, when nobody knew of us yet */
    c->recheck = plan->owner_changes != b->owner_changes;
    return true;
}

struct client *stream_open(struct stream_plan *plan)
{
    struct client *c = open_client(plan, false);
    if (c && !join(c, plan)) {
        client_close(c, CLOSE_MEMORY);
        c = NULL;
    }
    stream_plan_free(plan);
    return c;
}
