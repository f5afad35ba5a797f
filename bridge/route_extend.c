/* route_extend: POST /v1/session/extend: a stream that is open goes on with the fresh
 * token of the same subject, without a reconnect. Whoever asks proves by the connection's
 * name that the stream is theirs, and by the token that it may go on. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/extension.h"
#include "bridge/request.h"
#include "bridge/routes.h"

static void busy(struct request *r)
{
    request_error(r, 503, "busy", "it cannot be said now: try again");
}

static void on_extended(const struct extend_answer *answer, void *arg)
{
    struct request *r = arg;

    switch (answer->outcome) {
    case EXTEND_NONE:
        request_error(r, 404, "no_connection", "there is no such stream of yours");
        break;
    case EXTEND_DONE:
        request_json(r, 200,
                     json_pack("{s:I}", "expiresAt", (json_int_t)answer->until_ms));
        break;
    case EXTEND_DENIED:
        request_error(r, 403, "forbidden", "this token does not read its threads");
        break;
    case EXTEND_UNKNOWN:
        busy(r);
        break;
    }
    request_unref(r);
}

/* There is no answer from there: the stream itself says `auth`. */
static void ask_elsewhere(struct request *r, const struct buf *text)
{
    if (extension_tell(r->bridge, text->data))
        request_json(r, 202, json_pack("{s:b}", "elsewhere", 1));
    else
        busy(r);
}

static void extend(struct request *r, const char *connection)
{
    struct buf text;

    buf_init(&text);
    if (!extension_make(r->bridge->auth, connection, r->identity, &text)) {
        if (text.failed)
            busy(r);
        else
            request_error(r, 400, "token_too_long", "the token grants too many threads");
    } else if (!connection_here(r->bridge, connection)) {
        ask_elsewhere(r, &text);
    } else if (!extension_ask(r->bridge, text.data, text.len, on_extended,
                              request_ref(r))) {
        busy(r);
        request_unref(r);
    }
    buf_fini(&text);
}

void route_session_extend(struct request *r)
{
    if (!auth_require(r, false))
        return;
    if (r->bridge->conf->auth == AUTH_MODE_NONE) {
        request_error(r, 404, "no_connection", "without authentication no stream ends");
        return;
    }
    json_t *body = request_body_object(r);
    if (!body)
        return;
    const json_t *name = json_object_get(body, "connection");
    if (connection_valid(json_string_value(name), json_string_length(name)))
        extend(r, json_string_value(name));
    else
        request_error(r, 400, "bad_connection", "not the name of a connection");
    json_decref(body);
}
