/* route_agents: GET /v1/agents, whom a message may name: what the workers that are there
 * have said of themselves. A message may name others too: its worker may be about to
 * come. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/pg.h"

#include <stddef.h>

static void on_agents(struct request *r, const struct pg_result *res)
{
    request_text(r, 200, pg_value(res, 0, 0), pg_length(res, 0, 0));
}

void route_agents_get(struct request *r)
{
    if (auth_require(r, false))
        ask_pg(r, "SELECT threadcast.list_agents()::text", 0, NULL, on_agents);
}
