/* route_usage: GET /v1/threads/<id>/usage, what the thread's runs used, per agent.
 * Whoever may read the thread may: each run's `done` said it there. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/pg.h"

static void on_usage(struct request *r, const struct pg_result *res)
{
    request_text(r, 200, pg_value(res, 0, 0), pg_length(res, 0, 0));
}

static void on_may_read(struct request *r)
{
    const char *params[] = {r->param};

    ask_pg(r, "SELECT threadcast.thread_usage($1)::text", 1, params, on_usage);
}

void route_usage_get(struct request *r)
{
    if (auth_require(r, false))
        ask_access(r, ACCESS_READ, on_may_read);
}
