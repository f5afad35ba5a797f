/* routes: see routes.h. The table is the list of what this bridge serves, below
 * --base-path. It decides by method and path alone; who may is asked inside the routes.
 */
#include "bridge/routes.h"

#include "bridge/auth.h"
#include "bridge/authorize.h"
#include "bridge/base_path.h"
#include "bridge/bridge.h"
#include "bridge/keywait.h"
#include "bridge/legacy_names.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/stream.h"
#include "common/log.h"
#include "common/names.h"

#include <string.h>

enum route_flags {
    ROUTE_THREAD = 1,   /* `*` is a thread's id */
    ROUTE_RUN = 2,      /* `*` is a run's id, a UUID */
    ROUTE_FILE = 4,     /* `*` is a file's name; only with --demo */
    ROUTE_STREAM = 8,   /* takes the connection away: no HEAD */
    ROUTE_PG = 16,      /* needs Postgres: 501 without DATABASE_URL */
    ROUTE_DEMO = 32,    /* only with --demo */
    ROUTE_ALWAYS = 64,  /* answered even by a connection too many */
    ROUTE_PROBE = 128,  /* at both doors */
    ROUTE_ADMIN = 256,  /* at --admin-listen; without one at --listen, unless … */
    ROUTE_INNER = 512,  /* … it is for insiders only */
    ROUTE_LEGACY = 1024 /* `*` is an older run's id; not with --no-legacy-api */
};

/* clang-format off */
#define LEGACY_ROUTES(base)                                                              \
    {HTTP_GET, base "/agent-run/*/stream", route_legacy_stream, ROUTE_LEGACY | ROUTE_STREAM}, \
    {HTTP_GET, base "/agent-run/*", route_legacy_status, ROUTE_LEGACY},                  \
    {HTTP_GET, base "/agent-runs/*/status", route_legacy_status, ROUTE_LEGACY},          \
    {HTTP_POST, base "/agent-run/*/stop", route_legacy_stop, ROUTE_LEGACY},              \
    {HTTP_POST, base "/agent-runs/*/stop", route_legacy_stop, ROUTE_LEGACY}
/* clang-format on */

static const struct route {
    enum http_method method;
    const char *path; /* `*` stands for one segment */
    route_fn *fn;
    unsigned flags;
} routes[] = {
    {HTTP_GET, "/healthz", route_healthz, ROUTE_ALWAYS | ROUTE_PROBE},
    {HTTP_GET, "/readyz", route_readyz, ROUTE_ALWAYS | ROUTE_PROBE},
    {HTTP_GET, "/metrics", route_metrics, ROUTE_ALWAYS | ROUTE_ADMIN},
    {HTTP_GET, "/debug/streams", route_debug_streams,
     ROUTE_ALWAYS | ROUTE_ADMIN | ROUTE_INNER},
    {HTTP_GET, "/v1/events", route_events, ROUTE_STREAM},
    {HTTP_GET, "/v1/probe", route_probe, ROUTE_STREAM},
    {HTTP_GET, "/v1/runs/*/events", route_run_events, ROUTE_RUN | ROUTE_STREAM},
    {HTTP_GET, "/v1/runs/*", route_run_get, ROUTE_RUN | ROUTE_PG},
    {HTTP_POST, "/v1/runs/*/cancel", route_run_cancel, ROUTE_RUN | ROUTE_PG},
    {HTTP_POST, "/v1/runs/*/retry", route_run_retry, ROUTE_RUN | ROUTE_PG},
    {HTTP_GET, "/v1/agents", route_agents_get, ROUTE_PG},
    {HTTP_GET, "/v1/threads", route_threads_get, ROUTE_PG},
    {HTTP_POST, "/v1/threads", route_threads_post, ROUTE_PG},
    {HTTP_DELETE, "/v1/threads/*", route_thread_delete, ROUTE_THREAD | ROUTE_PG},
    {HTTP_GET, "/v1/threads/*/runs", route_runs_get, ROUTE_THREAD | ROUTE_PG},
    {HTTP_POST, "/v1/threads/*/cancel", route_thread_cancel, ROUTE_THREAD | ROUTE_PG},
    {HTTP_GET, "/v1/threads/*/usage", route_usage_get, ROUTE_THREAD | ROUTE_PG},
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
    {HTTP_GET, "/client.js", route_client_entry, 0},
    {HTTP_GET, "/client/*", route_client, 0},
    LEGACY_ROUTES(""),
    LEGACY_ROUTES("/api"),
    {HTTP_GET, "/vendor/*", route_vendor, ROUTE_FILE},
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

/* Does this route belong to the door that the request came in by? */
static bool at_door(const struct request *r, const struct route *route)
{
    if (route->flags & ROUTE_PROBE)
        return true;
    if (r->admin)
        return route->flags & ROUTE_ADMIN;
    return !(route->flags & ROUTE_ADMIN) ||
           (!r->bridge->conf->admin_listen && !(route->flags & ROUTE_INNER));
}

/* Outside of --base-path there are only the probes. */
static bool route_on(const struct request *r, const struct route *route, bool outside)
{
    const struct bridge *b = r->bridge;

    if (!at_door(r, route) || (outside && !(route->flags & ROUTE_ALWAYS)))
        return false;
    if (route->flags & ROUTE_FILE)
        return b->statics != NULL;
    if (route->flags & ROUTE_LEGACY)
        return b->conf->legacy_api;
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
    struct span path = r->http.path;
    bool outside = !base_path_strip(r->bridge->conf->base_path, &path);

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        if (!route_on(r, route, outside) || !path_matches(route->path, path, ret_param))
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
    if (route->flags & ROUTE_LEGACY) {
        if (ok && legacy_id_valid(r->param, len))
            return true;
        request_error(r, 400, "bad_run_id",
                      "A run's id is 1 to 128 of A-Z a-z 0-9 . _ -");
        return false;
    }
    if (ok)
        return true;
    request_error(r, 404, "not_found", "There is nothing here.");
    return false;
}

/* The page lives in `/live/`: what it names stands beside it, so `/live` goes there. */
static bool redirect(struct request *r)
{
    struct buf to;
    bool here = r->bridge->statics &&
                (r->http.method == HTTP_GET || r->http.method == HTTP_HEAD) &&
                base_path_is(r->bridge->conf->base_path, r->http.path);

    if (!here)
        return false;
    buf_init(&to);
    base_path_location(r->bridge->conf->base_path, r->http.query, &to);
    if (!to.failed)
        request_header(r, "Location", to.data);
    request_reply(r, 308, NULL, NULL, 0);
    buf_fini(&to);
    return true;
}

static void no_route(struct request *r, struct buf *allow)
{
    if (redirect(r))
        return;
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

/* A load balancer's probe over HTTP/1.0. No browser leaves Host away, so there is no page
 * behind it whose name was pointed at us. */
static bool is_probe(const struct request *r, const struct route *route)
{
    return route && (route->flags & ROUTE_ALWAYS) && !http_header(&r->http, "Host").at;
}

void routes_dispatch(struct request *r)
{
    struct span param = {NULL, 0};
    const struct route *route;
    struct buf allow;

    if (r->overloaded || r->moved)
        r->http.keep_alive = false;
    request_trace(r);
    buf_init(&allow);
    route = find_route(r, &param, &allow);
    if (is_probe(r, route) || origin_admit(r)) {
        if (route)
            run_route(r, route, param);
        else
            no_route(r, &allow);
    }
    buf_fini(&allow);
}
