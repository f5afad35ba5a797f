/* route_retry: POST /v1/runs/<id>/retry, another answer to the same message. The cursor
 * is read before the run is made, so that its stream misses nothing. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/pg.h"

#include <string.h>

static void on_retried(struct request *r, const struct pg_result *res)
{
    const char *outcome = pg_value(res, 0, 0);
    const char *answer = pg_value(res, 0, 1);
    if (strcmp(outcome, "forbidden") == 0)
        ask_forbidden(r);
    else if (strcmp(outcome, "live") == 0)
        request_error(r, 409, "run_in_progress", "This run has not ended yet.");
    else if (answer)
        request_text(r, 202, answer, strlen(answer));
    else
        request_error(r, 500, "internal", "The new run is not there.");
}

static void on_cursor(struct request *r, const struct thread_cursor *cursor)
{
    char text[EVENT_ID_SIZE];
    const char *params[] = {r->param, r->identity->sub, text};
    cursor_text(cursor, text);
    ask_pg(r, "SELECT outcome, answer::text FROM threadcast.retry_run($1::uuid, $2, $3)",
           3, params, on_retried);
}

static void on_thread(struct request *r, const struct pg_result *res)
{
    if (pg_rows(res) == 1) {
        ask_cursor(r, pg_value(res, 0, 0), on_cursor);
        return;
    }
    r->bridge->stats.access_denied++;
    ask_forbidden(r);
}

void route_run_retry(struct request *r)
{
    const char *params[] = {r->param};
    if (!auth_require(r, false))
        return;
    ask_pg(r, "SELECT thread_id FROM threadcast.runs WHERE id = $1::uuid", 1, params,
           on_thread);
}
