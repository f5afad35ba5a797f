/* request: see request.h. Builds every response of the bridge but the streams, in one
 * place, so that no route forgets a header. Never waits for anything. */
#include "bridge/request.h"

#include "bridge/address.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/gather.h"
#include "bridge/origin.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define JSON_DEPTH_MAX 32

struct request *request_new(struct bridge *b, struct conn *c)
{
    struct request *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->bridge = b;
    r->conn = c;
    r->refs = 1;
    buf_init(&r->extra);
    return r;
}

struct request *request_ref(struct request *r)
{
    r->refs++;
    return r;
}

void request_unref(struct request *r)
{
    if (--r->refs > 0)
        return;
    if (r->placed) /* what it opened is counted by now */
        gather_left(r->bridge->gather, r->place);
    identity_unref(r->identity);
    identity_unref(r->authorized_as);
    if (r->state_free)
        r->state_free(r->state);
    buf_fini(&r->extra);
    free(r->head);
    free((char *)(void *)(uintptr_t)r->body);
    free(r);
}

/* --- answering ---------------------------------------------------------------------- */

static bool header_safe(const char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
            return false;
    return true;
}

void request_header(struct request *r, const char *name, const char *value)
{
    if (!header_safe(name) || !header_safe(value)) {
        log_error("response header dropped", LOG_S("name", name));
        return;
    }
    buf_printf(&r->extra, "%s: %s\r\n", name, value);
}

/* Did a route set this header itself? */
static bool extra_has(const struct request *r, const char *name)
{
    const char *at = r->extra.data, *end = at ? at + r->extra.len : NULL;
    size_t len = strlen(name);

    while (at && at < end) {
        if ((size_t)(end - at) > len && strncasecmp(at, name, len) == 0 && at[len] == ':')
            return true;
        at = memchr(at, '\n', (size_t)(end - at));
        if (at)
            at++;
    }
    return false;
}

void request_trace(struct request *r)
{
    struct span id = http_header(&r->http, "x-request-id");
    struct span parent = http_header(&r->http, "traceparent");

    trace_set_id(&r->trace, id.at, id.len);
    trace_set_parent(&r->trace, parent.at, parent.len);
    if (!r->trace.request_id[0])
        uuid_new(r->trace.request_id);
    if (!extra_has(r, "X-Request-Id"))
        request_header(r, "X-Request-Id", r->trace.request_id);
}

static void add_date(struct buf *out)
{
    char text[64];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;

    if (gmtime_r(&now, &tm) &&
        strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm) > 0)
        buf_str(out, text);
}

static void add_head(struct request *r, int status, const char *content_type, size_t len,
                     struct buf *out)
{
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    add_date(out);
    if (content_type && status != 204 && status != 304)
        buf_printf(out, "Content-Type: %s\r\n", content_type);
    if (status != 204 && status != 304)
        buf_printf(out, "Content-Length: %zu\r\n", len);
    buf_str(out, "X-Content-Type-Options: nosniff\r\n");
    if (!extra_has(r, "Cache-Control"))
        buf_str(out, "Cache-Control: no-store\r\n");
    if (!r->http.keep_alive)
        buf_str(out, "Connection: close\r\n");
    else if (r->http.minor == 0)
        buf_str(out, "Connection: keep-alive\r\n");
    buf_add(out, r->extra.data, r->extra.len);
    buf_str(out, "\r\n");
}

static void count(struct request *r, int status)
{
    struct bridge_stats *stats = &r->bridge->stats;

    if (status >= 500)
        stats->responses_5xx++;
    else if (status >= 400)
        stats->responses_4xx++;
    else
        stats->responses_2xx++;
}

/* Without the query: a token may be in it. */
static void log_answer(const struct request *r, int status)
{
    char path[256];

    if (!log_enabled(LOG_LEVEL_DEBUG))
        return;
    snprintf(path, sizeof path, "%.*s", (int)r->http.path.len,
             r->http.path.at ? r->http.path.at : "");
    log_debug("answered", LOG_S("path", path), LOG_I("status", status),
              LOG_S("request", r->trace.request_id));
}

void request_reply(struct request *r, int status, const char *content_type,
                   const void *body, size_t len)
{
    struct buf out;

    if (r->answered) {
        log_error("answered twice", LOG_I("status", status));
        return;
    }
    r->answered = true;
    if (!r->conn)
        return;
    if (r->bridge->draining)
        r->http.keep_alive = false;
    log_answer(r, status);
    if (!r->anyone)
        origin_cors(r);
    buf_init(&out);
    add_head(r, status, content_type, len, &out);
    if (r->http.method != HTTP_HEAD && status != 204 && status != 304)
        buf_add(&out, body, len);
    count(r, status);
    if (out.failed || r->extra.failed)
        r->http.keep_alive = false;
    /* nothing at all rather than half a head */
    conn_respond(r->conn, r, out.data, out.failed || r->extra.failed ? 0 : out.len);
    buf_fini(&out);
}

void request_text(struct request *r, int status, const char *json, size_t len)
{
    struct buf out;

    buf_init(&out);
    buf_add(&out, json, len);
    buf_char(&out, '\n'); /* for those who read it in a terminal */
    if (out.failed)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        request_reply(r, status, "application/json", out.data, out.len);
    buf_fini(&out);
}

void request_json(struct request *r, int status, json_t *value)
{
    char *text = value ? json_text(value, JSON_COMPACT) : NULL;

    json_decref(value);
    if (!text) {
        request_error(r, 500, "internal", "The answer could not be built.");
        return;
    }
    request_text(r, status, text, strlen(text));
    free(text);
}

void request_error(struct request *r, int status, const char *code, const char *message)
{
    struct buf out;

    buf_init(&out);
    buf_str(&out, "{\"error\":{\"code\":");
    buf_json(&out, code, strlen(code));
    buf_str(&out, ",\"message\":");
    buf_json(&out, message, strlen(message));
    buf_str(&out, "}}\n");
    if (status == 503 && !r->answered)
        request_header(r, "Retry-After", "1");
    request_reply(r, status, "application/json", out.data, out.failed ? 0 : out.len);
    buf_fini(&out);
}

/* --- the body ----------------------------------------------------------------------- */

static bool is_json_type(struct span type)
{
    static const char json[] = "application/json";
    size_t len = sizeof json - 1;

    if (!type.at || type.len < len || strncasecmp(type.at, json, len) != 0)
        return false;
    return type.len == len || strchr("; \t", type.at[len]) != NULL;
}

/* The deepest nesting, counted before a parser that recurses sees the text. */
static size_t json_depth(const char *text, size_t len)
{
    size_t depth = 0, deepest = 0;
    bool string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > deepest)
                deepest = depth;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

json_t *request_body_parse(struct request *r, size_t flags)
{
    json_t *value;
    enum json_trouble trouble;

    if (!is_json_type(http_header(&r->http, "content-type"))) {
        request_error(r, 415, "bad_content_type",
                      "Send the body as Content-Type: application/json.");
        return NULL;
    }
    if (r->body_len == 0 || memchr(r->body, 0, r->body_len)) {
        request_error(r, 400, "bad_json", "The body is not JSON.");
        return NULL;
    }
    if (json_depth(r->body, r->body_len) > JSON_DEPTH_MAX) {
        request_error(r, 400, "too_deep", "The body's JSON is nested too deeply.");
        return NULL;
    }
    value = json_read(r->body, r->body_len, JSON_REJECT_DUPLICATES | flags, &trouble);
    if (value)
        return value;
    if (trouble == JSON_NO_MEMORY)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        request_error(r, 400, "bad_json", "The body is not JSON.");
    return NULL;
}

json_t *request_body_object(struct request *r)
{
    json_t *value = request_body_parse(r, 0);

    if (value && !json_is_object(value)) {
        json_decref(value);
        request_error(r, 400, "bad_json", "The body must be a JSON object.");
        return NULL;
    }
    return value;
}

/* --- who ---------------------------------------------------------------------------- */

const char *request_address(struct request *r, char out[64])
{
    const char *trusted = r->bridge->conf->trusted_proxies;

    snprintf(out, 64, "%s", r->conn ? conn_address(r->conn) : "");
    if (!address_listed(trusted, out))
        return out;
    for (size_t i = r->http.header_count; i-- > 0;) {
        const struct http_header *h = &r->http.headers[i];
        if (h->name.len == 15 && strncasecmp(h->name.at, "x-forwarded-for", 15) == 0 &&
            !address_forwarded(trusted, h->value, out))
            break;
    }
    return out;
}
