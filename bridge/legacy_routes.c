/* legacy_routes: the older interface as pages written for Suna and its forks call it, at
 * the root and below /api:
 *
 *   GET  /agent-run/<id>/stream                          the run's entries, as a stream
 *   GET  /agent-run/<id>    GET  /agent-runs/<id>/status  how it stands: asked before and
 *                                                        after every stream
 *   POST /agent-run/<id>/stop   POST /agent-runs/<id>/stop
 *
 * A transient refusal is 503 here: one of their clients opens a second stream for each
 * that ends without `event: close`, and `busy` would make that a flood. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/legacy_access.h"
#include "bridge/legacy_page.h"
#include "bridge/legacy_stop.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "bridge/stream.h"
#include "common/pg.h"

#include <stdio.h>
#include <string.h>

/* `?last_id=` of the newest pages: an id of the stream, "0" or nothing: all of it. false:
 * answered. */
static bool read_last_id(struct request *r, char out[STREAM_LAST_ID_SIZE])
{
    int found = http_query_get(r->http.query, "last_id", out, STREAM_LAST_ID_SIZE - 2);

    if (found == 0 ||
        (found == 1 && (!*out || !strcmp(out, "0") || !strcmp(out, "0-0")))) {
        *out = '\0';
        return true;
    }
    if (found != 1 || !legacy_place_valid(out)) {
        request_error(r, 400, "bad_last_id", "`last_id` is an id of the run's stream.");
        return false;
    }
    if (!strchr(out, '-'))
        memcpy(out + strlen(out), "-0", 3);
    return true;
}

static void on_stream(struct request *r, const struct legacy_found *found)
{
    struct stream_plan *plan;
    struct stream_thread *t;

    if (!r->conn)
        return;
    plan = stream_plan_new(r);
    if (!plan)
        return;
    if (!read_last_id(r, plan->last_id)) {
        stream_plan_free(plan);
        return;
    }
    t = &plan->threads[0];
    snprintf(plan->older_id, sizeof(plan->older_id), "%s", r->param);
    plan->merge = false; /* the same run is told in the same words every time */
    plan->thread_granted = found->thread_granted;
    plan->owner_changes = found->owner_changes;
    plan->ended = found->ended;
    plan->older_end = found->told ? found->end : LEGACY_RUNNING;
    plan->count = found->ours || found->thread_granted;
    memcpy(t->thread_id, found->thread_id, sizeof(t->thread_id));
    t->by_owner = found->by_owner;
    t->since = SINCE_NOW;
    if (found->ours) {
        memcpy(plan->run_id, r->param, sizeof(plan->run_id));
        stream_run(plan);
    } else {
        stream_open(plan);
    }
}

void route_legacy_stream(struct request *r)
{
    r->stream = false; /* their page tries again after an error, not after an end */
    if (auth_require(r, true))
        legacy_find(r, ACCESS_READ, on_stream);
}

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static void on_status(struct request *r, const struct legacy_found *found)
{
    request_json(
        r, 200,
        json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "id", r->param, "threadId",
                  text_or_null(found->thread_id), "status", legacy_end_text(found->end),
                  "startedAt", text_or_null(found->started), "completedAt",
                  text_or_null(found->completed), "error", text_or_null(found->error)));
}

void route_legacy_status(struct request *r)
{
    if (auth_require(r, false))
        legacy_find(r, ACCESS_READ, on_status);
}

/* columns: outcome, status, thread_id */
static void on_cancelled(struct request *r, const struct pg_result *res)
{
    const char *outcome = pg_value(res, 0, 0);

    if (strcmp(outcome, "forbidden") == 0) {
        r->bridge->stats.access_denied++;
        ask_forbidden(r);
        return;
    }
    if (strcmp(outcome, "accepted") == 0)
        route_run_hint_cancel(r, r->param);
    request_json(r, 200, json_pack("{s:s}", "status", "stopped"));
}

static void on_stop(struct request *r, const struct legacy_found *found)
{
    const char *params[] = {r->param, r->identity->sub};

    if (found->ours)
        ask_pg(
            r,
            "SELECT outcome, status, thread_id FROM threadcast.cancel_run($1::uuid, $2)",
            2, params, on_cancelled);
    else
        legacy_stop(r);
}

void route_legacy_stop(struct request *r)
{
    if (auth_require(r, false))
        legacy_find(r, ACCESS_OWN, on_stop);
}
