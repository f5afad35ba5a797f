/* advice: see advice.h. */
#include "bridge/advice.h"

#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/reactors.h"
#include "bridge/request.h"
#include "common/log.h"

bool advice_first(struct bridge *b, enum advice a)
{
    unsigned bit = (unsigned)a;

    return b->reactors && !(atomic_fetch_or(&b->reactors->advised, bit) & bit);
}

void advice_http10(const struct request *r)
{
    if (r->conn && advice_first(r->bridge, ADVICE_HTTP10))
        log_warn("a stream over HTTP/1.0 (this is said once)",
                 LOG_S("address", conn_address(r->conn)),
                 LOG_S("request", r->trace.request_id),
                 LOG_S("advice", "its end cannot be told from a cut connection; nginx: "
                                 "proxy_http_version 1.1; all are counted in "
                                 "threadcast_bridge_streams_http10_total"));
}
