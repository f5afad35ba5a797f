/* route_runs: how a run is doing, and stopping it. The outcome of a run that still lives
 * is always an event, never an answer of ours. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/publisher.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/pg.h"

#include <stdio.h>
#include <string.h>

static const char get_sql[] =
    "SELECT r.thread_id, t.owner = $2, jsonb_build_object("
    "         'runId', r.id, 'threadId', r.thread_id, 'messageId', r.message_id,"
    "         'replyId', r.reply_id, 'agent', r.agent, 'status', r.status,"
    "         'attempt', r.attempt, 'failures', r.failures, 'error', r.error,"
    "         'usage', r.usage, 'cancelAt', r.cancel_at, 'queuedAt', r.queued_at,"
    "         'startedAt', r.started_at, 'endedAt', r.ended_at)::text"
    "  FROM runs r JOIN threads t ON t.id = r.thread_id WHERE r.id = $1::uuid";

static void on_run(struct request *r, const struct pg_result *res)
{
    if (pg_rows(res) == 0 || !(pg_bool(res, 0, 1) || r->identity->everything ||
                               identity_reads(r->identity, pg_value(res, 0, 0)))) {
        r->bridge->stats.access_denied++;
        ask_forbidden(r);
        return;
    }
    request_text(r, 200, pg_value(res, 0, 2), pg_length(res, 0, 2));
}

void route_run_get(struct request *r)
{
    const char *params[] = {r->param, NULL};

    if (!auth_require(r, false))
        return;
    params[1] = r->identity->sub;
    ask_pg(r, get_sql, 2, params, on_run);
}

/* Workers hear of it at once; those that miss the hint see it in Postgres. */
static void hint_cancel(struct request *r)
{
    char channel[NAMES_KEY_SIZE], json[96];

    snprintf(channel, sizeof channel, "%sthreadcast:control",
             r->bridge->conf->redis_prefix);
    snprintf(json, sizeof json, "{\"type\":\"cancel\",\"runId\":\"%.36s\"}", r->param);
    publisher_hint(r->bridge->publisher, channel, json);
}

static void on_cancelled(struct request *r, const struct pg_result *res)
{
    const char *outcome = pg_value(res, 0, 0), *status = pg_value(res, 0, 1);
    bool accepted = strcmp(outcome, "accepted") == 0;

    if (strcmp(outcome, "forbidden") == 0) {
        r->bridge->stats.access_denied++;
        ask_forbidden(r);
        return;
    }
    if (accepted)
        hint_cancel(r);
    request_json(r, accepted ? 202 : 200,
                 json_pack("{s:s, s:s, s:s}", "runId", r->param, "threadId",
                           pg_value(res, 0, 2), "status", status));
}

void route_run_cancel(struct request *r)
{
    const char *params[] = {r->param, NULL};

    if (!auth_require(r, false))
        return;
    if (r->body_len > 0) { /* needs none, but what is sent must be well-formed */
        json_t *body = request_body_object(r);
        if (!body)
            return;
        json_decref(body);
    }
    params[1] = r->identity->sub;
    ask_pg(r, "SELECT outcome, status, thread_id FROM cancel_run($1::uuid, $2)", 2,
           params, on_cancelled);
}
