/* route_publish: events from outside, by whoever holds a write grant. jansson only says
 * whether the body is good JSON; what goes on is the sender's bytes (batch.c). */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/batch.h"
#include "bridge/bridge.h"
#include "bridge/publisher.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the answer -----------------------------------------------------------------------
 */

static void reply_ids(struct request *r, const struct publish_answer *answer)
{
    struct event_id id = answer->first;
    char text[EVENT_ID_SIZE];
    json_t *ids = json_array();

    for (int i = 0; i < BATCH_MAX && id.n <= answer->last.n; i++, id.n++) {
        event_id_format(&id, text);
        json_array_append_new(ids, json_string(text));
    }
    request_json(r, 202, json_pack("{s:o}", "ids", ids));
}

static void on_published(const struct publish_answer *answer, void *arg)
{
    struct request *r = arg;

    switch (answer->outcome) {
    case PUBLISH_OK:
        r->bridge->stats.published += answer->last.n - answer->first.n + 1;
        reply_ids(r, answer);
        break;
    case PUBLISH_KEPT:
        reply_ids(r, answer);
        break;
    case PUBLISH_CONFLICT:
        request_error(r, 409, "idempotency_conflict",
                      "This Idempotency-Key was used with another body.");
        break;
    case PUBLISH_TAKEN:
        request_error(r, 409, "run_taken", "This run belongs to a worker.");
        break;
    case PUBLISH_DOWN:
        request_error(r, 503, "unavailable", "Redis does not take it now, try again.");
        break;
    }
    request_unref(r);
}

static void publish(struct request *r, const struct batch *b)
{
    char key[KEY_MAX + 1], once[HASH_SIZE], body[HASH_SIZE];
    const char *sub = r->identity->sub;
    int keyed = ask_key(r, key);

    if (keyed < 0)
        return;
    if (keyed && !(hash_hex(sub, strlen(sub), key, strlen(key), once) &&
                   hash_hex(r->body, r->body_len, "", 0, body))) {
        request_error(r, 500, "internal", "The body could not be hashed.");
        return;
    }
    publisher_events(r->bridge->publisher, r->param, b->runs.data ? b->runs.data : "",
                     keyed ? once : NULL, keyed ? body : NULL, b->events, b->count,
                     on_published, request_ref(r));
}

/* The grant is there. Numbers are read as reals only so that large ones pass. */
static void on_may_publish(struct request *r)
{
    json_t *value = request_body_parse(r, JSON_DECODE_INT_AS_REAL);
    struct batch_fault fault;
    struct batch b;

    if (!value)
        return;
    json_decref(value);
    batch_init(&b);
    if (batch_fill(&b, r->body, r->body_len, r->param, clock_wall_ms(), &fault))
        publish(r, &b);
    else
        request_error(r, strcmp(fault.code, "unavailable") == 0 ? 503 : 400, fault.code,
                      fault.message);
    batch_fini(&b);
}

void route_events_post(struct request *r)
{
    if (auth_require(r, false))
        ask_access(r, ACCESS_PUBLISH, on_may_publish);
}
