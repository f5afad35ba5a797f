/* route_probe: GET /v1/probe, a stream for who wants to know what stands between
 * (`threadcast doctor`). Anybody may ask: it has nothing of anybody's in it, says nothing
 * of this machine, and is bounded in time, number and rate. What the bridge makes of a
 * request's addresses and names is for holders of the right `probe` alone. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/identity.h"
#include "bridge/limits.h"
#include "bridge/origin.h"
#include "bridge/probe.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "bridge/site.h"
#include "bridge/stream.h"
#include "common/clock.h"
#include "common/json.h"
#include "threadcast_version.h"

#include <stdlib.h>
#include <string.h>

#define PROBE_VERSION 1 /* of what is said in `hello`, for doctors that are younger */

/* --- what is asked for -------------------------------------------------------------- */

static bool read_number(struct span query, const char *name, int64_t min, int64_t max,
                        int64_t *ret)
{
    char text[8];
    int found = http_query_get(query, name, text, sizeof(text));
    size_t digits = found == 1 ? strspn(text, "0123456789") : 0;

    if (found == 0)
        return true;
    if (found < 0 || digits == 0 || text[digits])
        return false;
    *ret = strtoll(text, NULL, 10);
    return *ret >= min && *ret <= max;
}

/* false: answered */
static bool read_plan(struct request *r, struct probe_plan *ret)
{
    struct span query = r->http.query;

    *ret = (struct probe_plan){.events = 10, .every_ms = 100, .keepalive_ms = 1000};
    if (!read_number(query, "events", 0, 100, &ret->events) ||
        !read_number(query, "every-ms", 10, 10000, &ret->every_ms) ||
        !read_number(query, "bytes", 0, 2048, &ret->bytes) ||
        !read_number(query, "keepalives", 0, 100, &ret->keepalives) ||
        !read_number(query, "keepalive-ms", 10, 60000, &ret->keepalive_ms) ||
        !read_number(query, "quiet-ms", 0, 3600000, &ret->quiet_ms)) {
        request_error(r, 400, "bad_probe",
                      "events and keepalives are 0 to 100, every-ms 10 to 10000, "
                      "keepalive-ms 10 to 60000, bytes 0 to 2048; quiet-ms is a number.");
        return false;
    }
    if (probe_ms(ret) <= r->bridge->conf->probe_max_ms)
        return true;
    request_error(r, 400, "bad_probe", "That is longer than --probe-max-ms.");
    return false;
}

static bool wants_seen(const struct request *r)
{
    char text[8];

    return http_query_get(r->http.query, "seen", text, sizeof(text)) == 1 &&
           strcmp(text, "1") == 0;
}

/* Whose name it runs under. false: answered, or it waits for keys. */
static bool find_asker(struct request *r, bool seen)
{
    static const char anybody[] = "anybody (a probe)";

    if (seen) {
        if (!auth_require(r, false))
            return false;
        if (r->identity->everything || r->identity->may_probe)
            return true;
        request_error(r, 403, "forbidden", "That needs a token with the right `probe`.");
        return false;
    }
    identity_unref(r->identity);
    r->identity = identity_new(anybody, sizeof(anybody) - 1, INT64_MAX, INT64_MAX);
    if (!r->identity)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    return r->identity;
}

/* --- what is said first ------------------------------------------------------------- */

/* Which of these came through; never their values. */
static json_t *list_names(const struct request *r, const char *const *names, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        if (http_header(&r->http, names[i]).at)
            json_array_append_new(list, json_string(names[i]));
    return list;
}

static json_t *list_headers(const struct request *r)
{
    static const char *const names[] = {
        "accept",          "accept-encoding", "authorization", "cache-control", "cookie",
        "idempotency-key", "last-event-id",   "origin",        "x-request-id",
    };
    return list_names(r, names, sizeof(names) / sizeof(*names));
}

static json_t *list_forwarded(const struct request *r)
{
    static const char *const names[] = {
        "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via",
    };
    return list_names(r, names, sizeof(names) / sizeof(*names));
}

/* As it came, if it is one that a doctor would send: somebody may have changed it. */
static json_t *last_event_id(const struct request *r)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz-";
    struct span id = http_header(&r->http, "last-event-id");

    if (!id.len || id.len > 64)
        return NULL;
    for (size_t i = 0; i < id.len; i++)
        if (!id.at[i] || !strchr(letters, id.at[i]))
            return NULL;
    return json_stringn(id.at, id.len);
}

static json_t *seen(struct request *r)
{
    char address[64];
    struct site own = {.scheme = ""};

    origin_own(r, &own);
    request_address(r, address);
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:o}", "version", THREADCAST_VERSION,
                     "scheme", own.scheme, "host", own.host, "port", (int)own.port,
                     "address", address, "peer", r->conn ? conn_address(r->conn) : "",
                     "forwarded", list_forwarded(r));
}

/* Returns new, or NULL. */
static char *make_hello(struct request *r, bool with_seen)
{
    json_t *hello = json_pack(
        "{s:i, s:I, s:s, s:I, s:o, s:o*, s:o*}", "probe", PROBE_VERSION, "at",
        (json_int_t)clock_wall_ms(), "http", r->http.minor ? "1.1" : "1.0", "keepaliveMs",
        (json_int_t)r->bridge->conf->keepalive_ms, "headers", list_headers(r),
        "lastEventId", last_event_id(r), "seen", with_seen ? seen(r) : NULL);
    char *text = hello ? json_text(hello, JSON_COMPACT) : NULL;

    json_decref(hello);
    return text;
}

/* --- the route ---------------------------------------------------------------------- */

/* NULL, or why there is none for now. */
static const char *take_place(struct request *r)
{
    struct bridge *b = r->bridge;
    char address[64];

    if (r->overloaded)
        return "too many connections";
    switch (limits_probe_take(b->limits, request_address(r, address), clock_ms())) {
    case PROBE_ROOM:
        break;
    case PROBE_FULL:
        b->stats.limit_probes++;
        return "too many probes";
    case PROBE_OFTEN:
        b->stats.limit_probes_per_min++;
        return "too many probes from this address";
    }
    return NULL;
}

/* With a place, which goes back when there is no stream. */
static void open_probe(struct request *r, const struct probe_plan *plan, bool with_seen)
{
    struct bridge *b = r->bridge;
    char *hello = make_hello(r, with_seen);
    struct stream_plan *stream = hello ? stream_plan_new(r) : NULL;
    struct client *c = stream ? stream_open_detached(stream) : NULL;

    if (c)
        probe_start(c, plan, hello);
    else
        limits_probe_give(b->limits);
    if (!hello)
        stream_busy(r, "out of memory");
    free(hello);
}

void route_probe(struct request *r)
{
    struct probe_plan plan;
    bool with_seen = wants_seen(r);
    const char *why;

    if (!r->bridge->conf->max_probes) {
        request_error(r, 404, "not_found", "There is nothing here.");
        return;
    }
    if (!read_plan(r, &plan) || !find_asker(r, with_seen))
        return;
    why = take_place(r);
    if (why)
        stream_busy(r, why);
    else
        open_probe(r, &plan, with_seen);
}
