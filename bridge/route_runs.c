/* route_runs: how a run is doing, and stopping it. The outcome of a run that still lives
 * is always an event, never an answer of ours. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/publisher.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/json.h"
#include "common/pg.h"

#include <stdio.h>
#include <string.h>

/* A run `r` as the API shows it. */
#define RUN_JSON                                                                         \
    "jsonb_build_object("                                                                \
    " 'runId', r.id, 'threadId', r.thread_id, 'messageId', r.message_id,"                \
    " 'replyId', r.reply_id, 'agent', r.agent, 'agentId', r.answered_by,"                \
    " 'status', r.status,"                                                               \
    " 'attempt', r.attempt, 'failures', r.failures, 'error', r.error,"                   \
    " 'usage', r.usage, 'stats', r.stats, 'cancelAt', r.cancel_at, 'queuedAt', "         \
    "r.queued_at,"                                                                       \
    " 'startedAt', r.started_at, 'endedAt', r.ended_at)"

static const char get_sql[] = "SELECT r.thread_id, t.owner = $2, " RUN_JSON "::text"
                              "  FROM threadcast.runs r JOIN threadcast.threads t ON "
                              "t.id = r.thread_id WHERE r.id = $1::uuid";

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
void route_run_hint_cancel(struct request *r, const char *run_id)
{
    char channel[NAMES_KEY_SIZE], json[96];

    snprintf(channel, sizeof channel, "%sthreadcast:control",
             r->bridge->conf->redis_prefix);
    snprintf(json, sizeof json, "{\"type\":\"cancel\",\"runId\":\"%.36s\"}", run_id);
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
        route_run_hint_cancel(r, r->param);
    request_json(r, accepted ? 202 : 200,
                 json_pack("{s:s, s:s, s:s}", "runId", r->param, "threadId",
                           pg_value(res, 0, 2), "status", status));
}

/* Cancelling needs no body, but what is sent must be well-formed. false: answered. */
static bool body_is_fine(struct request *r)
{
    json_t *body = r->body_len > 0 ? request_body_object(r) : NULL;

    json_decref(body);
    return r->body_len == 0 || body;
}

void route_run_cancel(struct request *r)
{
    const char *params[] = {r->param, NULL};

    if (!auth_require(r, false) || !body_is_fine(r))
        return;
    params[1] = r->identity->sub;
    ask_pg(r,
           "SELECT outcome, status, thread_id FROM threadcast.cancel_run($1::uuid, $2)",
           2, params, on_cancelled);
}

/* --- all that a thread has going ---------------------------------------------------- */

/* Their workers are told by the notification too; these are for the first few, sooner. */
enum { HINTS_MAX = 32 };

static void hint_all(struct request *r, const json_t *runs)
{
    size_t i, hints = 0;
    const json_t *run;

    json_array_foreach(runs, i, run)
    {
        const char *id = json_string_value(json_object_get(run, "runId"));
        const char *status = json_string_value(json_object_get(run, "status"));
        if (id && status && strcmp(status, "running") == 0 && hints++ < HINTS_MAX)
            route_run_hint_cancel(r, id);
    }
}

static void on_thread_cancelled(struct request *r, const struct pg_result *res)
{
    json_t *answer;

    if (strcmp(pg_value(res, 0, 0), "ok") != 0) {
        r->bridge->stats.access_denied++;
        ask_forbidden(r);
        return;
    }
    answer = json_read(pg_value(res, 0, 1), pg_length(res, 0, 1), 0, NULL);
    hint_all(r, json_object_get(answer, "runs"));
    json_decref(answer);
    request_text(r, 202, pg_value(res, 0, 1), pg_length(res, 0, 1));
}

void route_thread_cancel(struct request *r)
{
    const char *params[] = {r->param, NULL};

    if (!auth_require(r, false) || !body_is_fine(r))
        return;
    params[1] = r->identity->sub;
    ask_pg(r, "SELECT outcome, answer::text FROM threadcast.cancel_thread($1, $2)", 2,
           params, on_thread_cancelled);
}

/* --- a thread's runs, newest first ------------------------------------------------- */

static const char list_sql[] =
    "WITH page AS ("
    "  SELECT r.* FROM threadcast.runs r LEFT JOIN threadcast.runs b ON b.id = $2::uuid"
    "   WHERE r.thread_id = $1 AND ($2::uuid IS NULL OR r.seq < b.seq)"
    "   ORDER BY r.seq DESC LIMIT $3::int + 1),"
    " kept AS (SELECT * FROM page ORDER BY seq DESC LIMIT $3::int)"
    "SELECT jsonb_build_object('runs', (SELECT coalesce(jsonb_agg(" RUN_JSON
    "         ORDER BY r.seq DESC), '[]') FROM kept r),"
    "       'next', CASE WHEN (SELECT count(*) FROM page) > $3::int"
    "                    THEN (SELECT id FROM kept ORDER BY seq LIMIT 1) END)::text";

static void on_list(struct request *r, const struct pg_result *res)
{
    request_text(r, 200, pg_value(res, 0, 0), pg_length(res, 0, 0));
}

static void on_may_list(struct request *r)
{
    int limit;
    char before[BEFORE_SIZE], limit_text[16];
    const char *params[] = {r->param, NULL, limit_text};

    if (!ask_page(r, &limit, before))
        return;
    if (before[0] && !uuid_valid(before, strlen(before))) {
        request_error(r, 400, "bad_before", "`before` is a run's id.");
        return;
    }
    snprintf(limit_text, sizeof limit_text, "%d", limit);
    params[1] = before[0] ? before : NULL;
    ask_pg(r, list_sql, 3, params, on_list);
}

void route_runs_get(struct request *r)
{
    if (auth_require(r, false))
        ask_access(r, ACCESS_READ, on_may_list);
}
