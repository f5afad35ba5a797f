/* route_stream: GET /v1/threads/<id>/events and GET /v1/events?thread=…&thread=… */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/gather.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "bridge/stream.h"
#include "common/loop.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SILENT_MS = 1000 }; /* ten heartbeats of a loop */

/* Who hangs, or hears nothing of Redis, gets nobody more. */
static bool is_well(const struct bridge *b)
{
    return loop_silence_ms(b->loop) <= SILENT_MS && atomic_load(&b->hears);
}

/* true: its connection has gone to its thread's home, where it is asked for again, and
 * this request is over. */
static bool goes_home(struct request *r)
{
    struct bridge *b = r->bridge;
    struct gather *g = b->gather;
    uint32_t place;
    size_t home;

    if (b->reactors->count < 2 || !b->conf->gather_readers || !conn_movable(r))
        return false;
    place = gather_place(g, r->param, strlen(r->param));
    home = gather_home(g, place);
    if (home == b->number || !is_well(b->reactors->all[home]))
        return false;
    if (!gather_admit(g, place)) {
        b->stats.gather_full++;
        return false;
    }
    if (conn_move(r, b->reactors->all[home], place))
        return true;
    gather_left(g, place);
    return false;
}

static void open_now(struct stream_plan *plan)
{
    stream_open(plan);
}

void route_thread_events(struct request *r)
{
    if (goes_home(r))
        return;
    if (!auth_require(r, true))
        return;
    struct stream_plan *plan = stream_plan_new(r);
    if (!plan)
        return;
    plan->count = 1;
    snprintf(plan->threads[0].thread_id, sizeof(plan->threads[0].thread_id), "%s",
             r->param);
    stream_positions(plan);
    stream_admit(plan, open_now);
}

static bool already(const struct stream_plan *plan, const char *thread_id)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->threads[i].thread_id, thread_id) == 0)
            return true;
    return false;
}

/* false: answered */
static bool read_threads(struct stream_plan *plan)
{
    struct request *r = plan->request;
    struct span name, value;
    size_t pos = 0, len;
    size_t max = (size_t)r->bridge->conf->max_threads_per_stream;
    while (http_query_next(r->http.query, &pos, &name, &value)) {
        if (name.len != 6 || memcmp(name.at, "thread", 6) != 0)
            continue;
        if (plan->count == max || plan->count == STREAM_THREADS_MAX) {
            char message[64];
            snprintf(message, sizeof(message), "A stream can follow at most %zu threads.",
                     max < STREAM_THREADS_MAX ? max : STREAM_THREADS_MAX);
            request_error(r, 400, "too_many_threads", message);
            return false;
        }
        char *id = plan->threads[plan->count].thread_id;
        if (!http_decode(value, true, id, THREAD_ID_MAX + 1, &len) ||
            !thread_id_valid(id, len) || already(plan, id)) {
            request_error(r, 400, "bad_thread_id",
                          "Every thread= must be a different valid thread id.");
            return false;
        }
        plan->count++;
    }
    if (!plan->count)
        request_error(r, 400, "no_thread", "Say ?thread=<id>, up to 32 times.");
    return plan->count > 0;
}

void route_events(struct request *r)
{
    if (!auth_require(r, true))
        return;
    struct stream_plan *plan = stream_plan_new(r);
    if (!plan)
        return;
    if (!read_threads(plan)) {
        stream_plan_free(plan);
        return;
    }
    stream_positions(plan);
    stream_admit(plan, open_now);
}
