/* routes: see routes.h. The table is the list of what this bridge serves. It decides by
 * method and path alone; who may is asked inside the routes. */
#include "bridge/routes.h"

#include "bridge/auth.h"
#include "bridge/authorize.h"
#include "bridge/bridge.h"
#include "bridge/keywait.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/stream.h"
#include "common/log.h"
#include "common/names.h"

#include <string.h>

enum route_flags {
    ROUTE_THREAD = 1,  /* `*` is a thread's id */
    ROUTE_RUN = 2,     /* `*` is a run's id, a UUID */
    ROUTE_FILE = 4,    /* `*` is a file's name; only with --demo */
    ROUTE_STREAM = 8,  /* takes the connection away: no HEAD */
    ROUTE_PG = 16,     /* needs Postgres: 501 without DATABASE_URL */
    ROUTE_DEMO = 32,   /* only with --demo */
    ROUTE_ALWAYS = 64, /* answered even by a connection too many */
};

static const struct route {
    enum http_method method;
    const char *path; /* `*` stands for one segment */
    route_fn *fn;
    unsigned flags;
} routes[] = {
    {HTTP_GET, "/healthz", route_healthz, ROUTE_ALWAYS},
    {HTTP_GET, "/readyz", route_readyz, ROUTE_ALWAYS},
    {HTTP_GET, "/metrics", route_metrics, ROUTE_ALWAYS},
    {HTTP_GET, "/v1/events", route_events, ROUTE_STREAM},
    {HTTP_GET, "/v1/runs/*/events", route_run_events, ROUTE_RUN | ROUTE_STREAM},
    {HTTP_GET, "/v1/runs/*", route_run_get, ROUTE_RUN | ROUTE_PG},
    {HTTP_POST, "/v1/runs/*/cancel", route_run_cancel, ROUTE_RUN | ROUTE_PG},
    {HTTP_POST, "/v1/runs/*/retry", route_run_retry, ROUTE_RUN | ROUTE_PG},
    {HTTP_GET, "/v1/threads", route_threads_get, ROUTE_PG},
    {HTTP_POST, "/v1/threads", route_threads_post, ROUTE_PG},
    {HTTP_DELETE, "/v1/threads/*", route_thread_delete, ROUTE_THREAD | ROUTE_PG},
    {HTTP_GET, "/v1/threads/*/runs", route_runs_get, ROUTE_THREAD | ROUTE_PG},
    {HTTP_GET, "/v1/threads/*/events", route_thread_events, ROUTE_THREAD | ROUTE_STREAM},
    {HTTP_POST, "/v1/threads/*/events", route_events_post, ROUTE_THREAD},
    {HTTP_GET, "/v1/threads/*/messages", route_messages_get, ROUTE_THREAD | ROUTE_PG},
    {HTTP_POST, "/v1/threads/*/messages", route_messages_post, ROUTE_THREAD | ROUTE_PG},
    {HTTP_POST, "/v1/session", route_session_post, 0},
    {HTTP_DELETE, "/v1/session", route_session_delete, 0},
    {HTTP_POST, "/v1/session/extend", route_session_extend, 0},
    {HTTP_POST, "/v1/revoke", route_revoke, 0},
    {HTTP_POST, "/v1/tickets", route_tickets_post, 0},
    {HTTP_POST, "/v1/demo/session", route_demo_session, ROUTE_DEMO},
    {HTTP_POST, "/v1/demo/cut", route_demo_cut, ROUTE_DEMO},
    {HTTP_GET, "/", route_static, ROUTE_FILE},
    {HTTP_GET, "/*", route_static, ROUTE_FILE},
};

/* Does `path` match? The segment under `*` comes back, still encoded. */
static bool path_matches(const char *pattern, struct span path, struct span *ret_param)
{
    const char *at = path.at, *end = path.at + path.len;

    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            const char *slash = memchr(at, '/', (size_t)(end - at));
            const char *stop = slash ? slash : end;
            if (stop == at)
                return false;
            *ret_param = (struct span){at, (size_t)(stop - at)};
            at = stop;
        } else if (at == end || *at++ != *pattern) {
            return false;
        }
    }
    return at == end;
}

static bool route_on(const struct bridge *b, const struct route *route)
{
    if (route->flags & ROUTE_FILE)
        return b->statics != NULL;
    return !(route->flags & ROUTE_DEMO) || b->conf->demo;
}

/* HEAD is asked where GET is served. */
static bool method_matches(const struct route *route, enum http_method method)
{
    return route->method == method || (method == HTTP_HEAD && route->method == HTTP_GET &&
                                       !(route->flags & ROUTE_STREAM));
}

static void add_allowed(struct buf *allow, const struct route *route)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",       [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",
        [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
    };

    buf_printf(allow, "%s, ", names[route->method]);
    if (route->method == HTTP_GET && !(route->flags & ROUTE_STREAM))
        buf_str(allow, "HEAD, ");
}

/* The route, or NULL with `allow` telling which methods this path has ("": no path). */
static const struct route *find_route(struct request *r, struct span *ret_param,
                                      struct buf *allow)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        if (!route_on(r->bridge, route) ||
            !path_matches(route->path, r->http.path, ret_param))
            continue;
        if ((route->flags & ROUTE_FILE) && allow->len > 0) /* not a file's name */
            continue;
        if (method_matches(route, r->http.method))
            return route;
        add_allowed(allow, route);
    }
    return NULL;
}

/* Decodes what stands under `*` into r->param. false: answered. */
static bool take_param(struct request *r, const struct route *route, struct span param)
{
    size_t len = 0;
    bool ok = http_decode(param, false, r->param, sizeof r->param, &len);

    if (route->flags & ROUTE_THREAD) {
        if (ok && thread_id_valid(r->param, len))
            return true;
        request_error(r, 400, "bad_thread_id",
                      "A thread's id is 1 to 128 of A-Z a-z 0-9 . _ -");
        return false;
    }
    if (route->flags & ROUTE_RUN) {
        if (ok && uuid_valid(r->param, len))
            return true;
        request_error(r, 400, "bad_run_id", "A run's id is a UUID.");
        return false;
    }
    if (ok)
        return true;
    request_error(r, 404, "not_found", "There is nothing here.");
    return false;
}

static void no_route(struct request *r, struct buf *allow)
{
    if (allow->len == 0 && !allow->failed) {
        request_error(r, 404, "not_found", "There is nothing here.");
        return;
    }
    buf_str(allow, "OPTIONS");
    if (!allow->failed)
        request_header(r, "Allow", allow->data);
    if (r->http.method == HTTP_OPTIONS)
        request_reply(r, 204, NULL, NULL, 0);
    else
        request_error(r, 405, "method_not_allowed", "This path has other methods.");
}

static void run_route(struct request *r, const struct route *route, struct span param)
{
    if (r->overloaded && !(route->flags & (ROUTE_STREAM | ROUTE_ALWAYS))) {
        request_error(r, 503, "busy", "There are too many connections.");
        return;
    }
    if (param.at && !take_param(r, route, param))
        return;
    r->stream = route->flags & ROUTE_STREAM;
    r->busy = r->stream ? stream_busy : NULL;
    r->wait = keywait_park;
    r->again = routes_dispatch;
    r->authorize = r->bridge->authorize ? authorize_ask : NULL;
    if ((route->flags & ROUTE_PG) && !r->bridge->pg) {
        if (auth_require(r, false)) /* 401 comes first: strangers learn nothing */
            request_error(r, 501, "no_database", "This bridge runs without a database.");
        return;
    }
    route->fn(r);
}

void routes_dispatch(struct request *r)
{
    struct span param = {NULL, 0};
    const struct route *route;
    struct buf allow;

    if (r->overloaded)
        r->http.keep_alive = false;
    if (!origin_admit(r))
        return;
    buf_init(&allow);
    route = find_route(r, &param, &allow);
    if (route)
        run_route(r, route, param);
    else
        no_route(r, &allow);
    buf_fini(&allow);
}
