/* manner: streams for those who cannot read one as it is. `?ping=1`: EventSource shows no
 * comments, so its page cannot tell silence from a dead connection; it gets its
 * keepalives as events. `?poll=<ms>`: proxies that hold an answer until it is whole never
 * pass a stream on; it ends as soon as there is something in it, and the next one goes on
 * by id. */
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/request.h"
#include "bridge/sse.h"
#include "bridge/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MAX_MS = 60000 };

bool stream_manner_read(struct request *r, struct stream_manner *ret)
{
    char text[8], *end = text;
    int found = http_query_get(r->http.query, "ping", text, sizeof(text));
    ret->ping = found == 1 && strcmp(text, "1") == 0;
    found = http_query_get(r->http.query, "poll", text, sizeof(text));
    if (!found)
        return true;
    long ms = found == 1 ? strtol(text, &end, 10) : -1;
    if (ms < 0 || ms > POLL_MAX_MS || *end || strspn(text, "0123456789") == 0) {
        request_error(r, 400, "bad_value", "?poll= is 0 to 60000 milliseconds.");
        return false;
    }
    ret->poll = true;
    ret->poll_ms = ms;
    return true;
}

void client_ping(struct client *c, int64_t retry_ms)
{
    char position[POSITION_SIZE], json[80];
    bool known = client_position(c, position);
    if (c->closed || c->ending)
        return;
    snprintf(json, sizeof(json), "{\"keepaliveMs\":%" PRId64 ",\"retryMs\":%" PRId64 "}",
             c->set->bridge->conf->keepalive_ms, retry_ms);
    struct msg *m = sse_named("ping", json, known ? position : NULL, 0);
    if (!client_push(c, m, false))
        client_close(c, CLOSE_MEMORY);
    msg_unref(m);
}

/* Every thread's replay must have come to its end: what is left would look as if it had
 * not happened yet. */
void client_poll(struct client *c)
{
    if (!c->poll || c->closed || c->ending)
        return;
    for (size_t i = 0; i < c->count; i++)
        if (c->subs[i].state < SUB_AHEAD)
            return;
    if (c->events || c->set->now_ms >= c->poll_by_ms)
        client_end(c, CLOSE_POLLED);
}
