/* route_run_stream: GET /v1/runs/<id>/events: one run alone, from its beginning, closed
 * after its end.
 *
 *   Postgres: whose thread, how it stands ─▶ access ─▶ Redis: tail, r:<run>, x:<run>
 *     live             from its beginning (or the position given), until its end
 *     not begun        from the tail that was read before that was known
 *     ended            from the log while the log holds it; 204 when the position given
 * is at its end, or the log no longer holds it ended, no log    without a position: from
 * Postgres, text and end
 */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/reader.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "bridge/run_state.h"
#include "bridge/stream.h"
#include "common/event.h"
#include "common/json.h"
#include "common/pg.h"
#include "common/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void no_content(struct stream_plan *plan)
{
    plan->request->bridge->stats.no_content++;
    request_reply(plan->request, 204, NULL, NULL, 0);
    stream_plan_free(plan);
}

/* --- an ended run out of Postgres ------------------------------------------------- */

enum { TEXT_PIECE = 32 << 10 }; /* bytes of text in one token */

static bool replay_json(struct client *c, const struct buf *json)
{
    struct event_view view;
    struct msg *m = NULL;
    if (!json->failed && event_check(json->data, json->len, NULL, 0, &view) == EVENT_OK)
        m = msg_event(json->data, json->len, &view, NULL);
    if (m)
        client_replay(&c->subs[0], m);
    msg_unref(m);
    return m != NULL;
}

static bool replay_text(struct client *c, const struct event_run *run, const char *text,
                        size_t len, int64_t ts)
{
    bool ok = true;
    while (ok && len) {
        size_t piece = len <= TEXT_PIECE ? len : utf8_whole(text, TEXT_PIECE);
        struct buf json;
        buf_init(&json);
        event_token(&json, run, text, piece, ts);
        ok = replay_json(c, &json);
        buf_fini(&json);
        text += piece;
        len -= piece;
    }
    return ok;
}

static enum event_type end_type(const char *type)
{
    return !type                        ? EVENT_OTHER
           : strcmp(type, "done") == 0  ? EVENT_DONE
           : strcmp(type, "error") == 0 ? EVENT_ERROR
                                        : EVENT_STATUS;
}

static bool replay_end(struct client *c, const struct event_run *run, const json_t *end)
{
    enum event_type type = end_type(json_string_value(json_object_get(end, "type")));
    char *content =
        json_text(json_object_get(end, "content"), JSON_COMPACT | JSON_ENCODE_ANY);
    int64_t ts = json_integer_value(json_object_get(end, "ts"));
    bool ok = content && type != EVENT_OTHER;
    struct buf json;
    buf_init(&json);
    if (ok)
        event_json(&json, run, type, content, strlen(content), ts);
    ok = ok && replay_json(c, &json);
    buf_fini(&json);
    free(content);
    return ok;
}

static bool replay_ends(struct client *c, const struct event_run *run, const char *text)
{
    size_t i;
    json_t *end,
        *ends = json_read(text, text ? strlen(text) : 0, JSON_REJECT_DUPLICATES, NULL);
    bool ok = json_array_size(ends) > 0;
    json_array_foreach(ends, i, end) ok = ok && replay_end(c, run, end);
    json_decref(ends);
    return ok;
}

/* columns: thread_id agent reply_id attempt text end_events ts */
static void on_ended(enum pg_outcome outcome, const struct pg_result *res,
                     const struct pg_error *err, void *arg)
{
    (void)err;
    struct stream_plan *plan = arg;
    struct client *c = NULL;
    char run_id[UUID_SIZE];
    memcpy(run_id, plan->run_id, sizeof(run_id));
    if (outcome != PG_OK || pg_rows(res) != 1) {
        stream_busy(plan->request, "the database does not answer");
        stream_plan_free(plan);
        return;
    }
    c = stream_open_detached(plan);
    if (!c)
        return;
    struct event_run run = {.thread_id = pg_value(res, 0, 0),
                            .run_id = run_id,
                            .agent_id = pg_value(res, 0, 1),
                            .message_id = pg_value(res, 0, 2),
                            .attempt = pg_int(res, 0, 3)};
    if (replay_text(c, &run, pg_value(res, 0, 4), pg_length(res, 0, 4),
                    pg_int(res, 0, 6)) &&
        replay_ends(c, &run, pg_value(res, 0, 5)))
        client_end(c, CLOSE_ENDED); /* harmless when the end did it */
    else
        client_close(c, CLOSE_MEMORY); /* half an answer must not look whole */
}

static void from_postgres(struct stream_plan *plan)
{
    static const char sql[] =
        "SELECT r.thread_id, r.agent, r.reply_id, r.attempt, coalesce(m.content, ''),"
        " r.end_events, (extract(epoch FROM r.ended_at) * 1000)::bigint"
        " FROM threadcast.runs r LEFT JOIN threadcast.messages m ON m.id = r.reply_id"
        " WHERE r.id = $1 AND r.end_events IS NOT NULL";
    struct bridge *b = plan->request->bridge;
    const char *params[] = {plan->run_id};
    if (!pg_pool_query(b->pg, sql, 1, params, b->conf->upstream_timeout_ms, on_ended,
                       plan)) {
        stream_busy(plan->request, "the database is busy");
        stream_plan_free(plan);
    }
}

/* --- where to begin --------------------------------------------------------------- */

static void begin_behind(struct stream_plan *plan, struct event_id pos)
{
    plan->threads[0].since = SINCE_ID;
    plan->threads[0].pos = pos;
    stream_open(plan);
}

static void on_run_state(const struct run_state *state, void *arg)
{
    struct stream_plan *plan = arg;
    struct event_id pos = plan->threads[0].pos;
    bool given = plan->given || plan->threads[0].since == SINCE_UNKNOWN;
    struct event_id before = {state->began.epoch, state->began.n - 1};
    if (!state->ok) {
        stream_busy(plan->request, "redis does not answer");
        stream_plan_free(plan);
        return;
    }
    if (state->ended && plan->given && event_id_cmp(pos, state->end) >= 0) {
        no_content(plan);
    } else if (state->live || (state->ended && state->held)) {
        if (given)
            stream_open(plan);
        else
            begin_behind(plan, before);
    } else if (plan->ended) {
        if (given)
            no_content(plan);
        else
            from_postgres(plan);
    } else if (given) {
        stream_open(plan);
    } else {
        begin_behind(plan, state->tail);
    }
}

void stream_run(struct stream_plan *plan)
{
    run_state_ask(plan->request->bridge->reader, plan->threads[0].thread_id, plan->run_id,
                  on_run_state, plan);
}

static void on_run(enum pg_outcome outcome, const struct pg_result *res,
                   const struct pg_error *err, void *arg)
{
    (void)err;
    struct stream_plan *plan = arg;
    struct request *r = plan->request;
    if (outcome != PG_OK) {
        stream_busy(r, "the database does not answer");
    } else if (pg_rows(res) != 1) {
        r->bridge->stats.access_denied++;
        request_error(r, 403, "forbidden", "This run is not yours to read.");
    } else {
        snprintf(plan->threads[0].thread_id, sizeof(plan->threads[0].thread_id), "%s",
                 pg_value(res, 0, 0));
        plan->ended = pg_bool(res, 0, 1);
        stream_positions(plan);
        stream_admit(plan, stream_run);
        return;
    }
    stream_plan_free(plan);
}

void route_run_events(struct request *r)
{
    struct bridge *b = r->bridge;
    if (!auth_require(r, true))
        return;
    if (!b->pg) {
        request_error(r, 501, "no_database",
                      "Runs are known to Postgres, and this bridge has none.");
        return;
    }
    struct stream_plan *plan = stream_plan_new(r);
    if (!plan)
        return;
    plan->count = 1;
    memcpy(plan->run_id, r->param, sizeof(plan->run_id));
    const char *params[] = {plan->run_id};
    if (!pg_pool_query(
            b->pg,
            "SELECT thread_id, end_events IS NOT NULL FROM threadcast.runs WHERE id = $1",
            1, params, b->conf->upstream_timeout_ms, on_run, plan)) {
        stream_busy(r, "the database is busy");
        stream_plan_free(plan);
    }
}
