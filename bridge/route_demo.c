/* route_demo: POST /v1/demo/cut, the page's "Cut my connection": the visitor's own
 * streams of a thread end without a word, as when a network goes away, so that the
 * browser's EventSource comes back by itself with its Last-Event-ID. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/request.h"
#include "bridge/routes.h"

void route_demo_cut(struct request *r)
{
    if (!r->bridge->conf->demo) {
        request_error(r, 404, "not_found", "There is nothing here.");
        return;
    }
    if (!auth_require(r, false))
        return;
    json_t *body = request_body_object(r);
    if (!body)
        return;
    const char *thread_id = json_string_value(json_object_get(body, "threadId"));
    if (thread_id) {
        int closed = clients_cut(r->bridge->clients, r->identity->sub, thread_id);
        request_json(r, 200, json_pack("{s:i}", "closed", closed));
    } else {
        request_error(r, 400, "bad_body", "Say {\"threadId\":\"…\"}.");
    }
    json_decref(body);
}
