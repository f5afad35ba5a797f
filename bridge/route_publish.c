/* route_publish: events from outside, by whoever holds a write grant. The bytes of each
 * event go on as they were sent, but for id, threadId and ts (event_normalize); jansson
 * only says whether the body is good JSON. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/publisher.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/clock.h"
#include "common/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 100
#define RUN_ID_LIMIT 128

/* What is built from the body before Redis is asked. */
struct batch {
    struct buf bytes;        /* normalised events, one behind the other */
    size_t ends[EVENTS_MAX]; /* where each ends in `bytes` */
    struct span events[EVENTS_MAX];
    size_t count;
    struct buf runs; /* distinct run ids, joined by spaces */
};

static void batch_free(struct batch *b)
{
    buf_fini(&b->bytes);
    buf_fini(&b->runs);
    free(b);
}

/* --- the body's elements
 * ---------------------------------------------------------------- */

/* The end of the value that begins at `at`, in JSON that was found valid. */
static size_t value_end(const char *text, size_t len, size_t at)
{
    size_t depth = 0;
    bool string = false;

    for (; at < len; at++) {
        char c = text[at];
        if (string) {
            if (c == '\\')
                at++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (depth == 0)
                return at; /* of the array around it */
            depth--;
        } else if (c == ',' && depth == 0) {
            return at;
        }
    }
    return len;
}

/* The next element of the array `text`; *pos = 1 behind its bracket at first. */
static bool next_element(const char *text, size_t len, size_t *pos, struct span *ret)
{
    size_t end;

    *pos += strspn(text + *pos, " \t\r\n");
    if (*pos >= len || text[*pos] == ']')
        return false;
    end = value_end(text, len, *pos);
    *ret = (struct span){text + *pos, end - *pos};
    *pos = end + (end < len && text[end] == ',');
    return true;
}

/* --- the batch ------------------------------------------------------------------------
 */

static bool run_known(const struct buf *runs, struct span run)
{
    const char *at = runs->data, *end = at ? at + runs->len : NULL;

    while (at && at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t len = (size_t)((space ? space : end) - at);
        if (len == run.len && memcmp(at, run.at, len) == 0)
            return true;
        at += len + 1;
    }
    return false;
}

/* Collects the run an event claims. false: no name for a run. */
static bool add_run(struct buf *runs, struct span run)
{
    if (!run.at)
        return true;
    if (run.len < 1 || run.len > RUN_ID_LIMIT || !thread_id_valid(run.at, run.len))
        return false;
    if (!run_known(runs, run)) {
        if (runs->len > 0)
            buf_char(runs, ' ');
        buf_add(runs, run.at, run.len);
    }
    return true;
}

/* false: answered. */
static bool add_event(struct request *r, struct batch *b, struct span json,
                      int64_t now_ms)
{
    struct event_view view;
    enum event_check check;
    char message[128];

    if (b->count == EVENTS_MAX) {
        request_error(r, 400, "too_many_events", "At most 100 events at once.");
        return false;
    }
    check = event_normalize(json.at, json.len, r->param, now_ms, &b->bytes, &view);
    if (check != EVENT_OK || !add_run(&b->runs, view.run_id)) {
        snprintf(message, sizeof message, "Event %zu: %s.", b->count + 1,
                 check != EVENT_OK ? event_check_text(check) : "runId is malformed");
        request_error(r, 400, "bad_event", message);
        return false;
    }
    b->ends[b->count++] = b->bytes.len;
    return true;
}

/* Events and run ids of the whole body. false: answered. */
static bool batch_fill(struct request *r, struct batch *b, bool array)
{
    int64_t now_ms = clock_wall_ms();
    const char *text = r->body + strspn(r->body, " \t\r\n");
    size_t len = r->body_len - (size_t)(text - r->body), pos = 1;
    struct span element = {text, len};

    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        element.len = --len;
    if (!array) {
        if (!add_event(r, b, element, now_ms))
            return false;
    } else {
        while (next_element(text, len, &pos, &element))
            if (!add_event(r, b, element, now_ms))
                return false;
    }
    if (b->count == 0) {
        request_error(r, 400, "no_events", "There is no event in the array.");
        return false;
    }
    if (b->bytes.failed || b->runs.failed) {
        request_error(r, 503, "unavailable", "Out of memory, try again.");
        return false;
    }
    for (size_t i = 0, start = 0; i < b->count; start = b->ends[i++])
        b->events[i] = (struct span){b->bytes.data + start, b->ends[i] - start};
    return true;
}

/* --- the answer -----------------------------------------------------------------------
 */

static void reply_ids(struct request *r, const struct publish_answer *answer)
{
    struct event_id id = answer->first;
    char text[EVENT_ID_SIZE];
    json_t *ids = json_array();

    for (int i = 0; i < EVENTS_MAX && id.n <= answer->last.n; i++, id.n++) {
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

/* The grant is there. */
static void on_may_publish(struct request *r)
{
    json_t *value = request_body_json(r);
    struct batch *b;

    if (!value)
        return;
    b = calloc(1, sizeof *b);
    if (!b)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else if (batch_fill(r, b, json_is_array(value)))
        publish(r, b);
    if (b)
        batch_free(b);
    json_decref(value);
}

void route_events_post(struct request *r)
{
    if (auth_require(r, false))
        ask_access(r, ACCESS_PUBLISH, on_may_publish);
}
