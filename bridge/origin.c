/* origin: which web pages may use us. Cookies, loopback addresses and --auth none all
 * lend a page its visitor's rights, so a request that changes something must come from
 * our own page or one that the operator has named. Runs before authentication. */
#include "bridge/origin.h"

#include "bridge/address.h"
#include "bridge/advice.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/request.h"
#include "bridge/site.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool from_trusted_proxy(const struct request *r)
{
    const char *proxies = r->bridge->conf->trusted_proxies;
    return proxies && r->conn && address_listed(proxies, conn_address(r->conn));
}

static bool span_is(struct span s, const char *word)
{
    return s.at && s.len == strlen(word) && !strncasecmp(s.at, word, s.len);
}

/* A header of a trusted proxy's; of several values the first is the visitor's. */
static struct span forwarded(const struct request *r, const char *name)
{
    struct span s = {0};

    if (from_trusted_proxy(r))
        s = http_header(&r->http, name);
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] == ',' || s.at[i] == ' ')
            s.len = i;
    return s;
}

static bool https(const struct request *r)
{
    return span_is(forwarded(r, "X-Forwarded-Proto"), "https");
}

bool origin_own(const struct request *r, struct site *ret)
{
    struct span host = forwarded(r, "X-Forwarded-Host");

    if (!host.at || !host.len)
        host = http_header(&r->http, "Host");
    return site_of_host(host, https(r) ? "https" : "http", ret);
}

static bool listed(const char *list, const struct site *site)
{
    struct span item;
    struct site other;
    size_t pos = 0;

    while (site_list_next(list, &pos, &item))
        if (site_parse(item, &other) && site_equal(site, &other))
            return true;
    return false;
}

static bool origin_allowed(const struct request *r, struct span origin)
{
    const struct bridge_conf *conf = r->bridge->conf;
    struct site site, own;

    if (!site_parse(origin, &site))
        return false; /* `null` is among these */
    return (origin_own(r, &own) && site_equal(&site, &own)) ||
           listed(conf->public_origin, &site) || listed(conf->allowed_origins, &site);
}

static void answer_options(struct request *r)
{
    struct span origin = http_header(&r->http, "Origin");

    if (!http_header(&r->http, "Access-Control-Request-Method").at) {
        request_header(r, "Allow", "GET, HEAD, POST, DELETE, OPTIONS");
    } else if (origin.at && origin_allowed(r, origin)) {
        request_header(r, "Access-Control-Allow-Methods", "GET, POST, DELETE");
        request_header(r, "Access-Control-Allow-Headers",
                       "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, "
                       "X-Request-Id, traceparent");
        request_header(r, "Access-Control-Max-Age", "600");
    }
    request_reply(r, 204, NULL, NULL, 0);
}

/* A request that changes something: does it come from a page that may? */
static bool source_allowed(const struct request *r)
{
    struct span origin = http_header(&r->http, "Origin");

    if (origin.at)
        return origin_allowed(r, origin);
    return !span_is(http_header(&r->http, "Sec-Fetch-Site"), "cross-site");
}

/* A proxy that writes a Host of its own makes strangers of our own pages: this is how
 * that is found out. */
static void tell(const struct request *r)
{
    struct span origin = http_header(&r->http, "Origin");
    struct span host = http_header(&r->http, "Host");
    char from[128], to[128];

    if (!origin.at || !advice_first(r->bridge, ADVICE_ORIGIN))
        return;
    snprintf(from, sizeof from, "%.*s", (int)origin.len, origin.at);
    snprintf(to, sizeof to, "%.*s", (int)host.len, host.at ? host.at : "");
    log_warn("a page's request was refused (this is said once)", LOG_S("origin", from),
             LOG_S("host", to), LOG_S("request", r->trace.request_id),
             LOG_S("advice",
                   "if this is our own page, a proxy has changed Host: name its "
                   "origin with --public-origin; if it is another's that may, "
                   "with --allowed-origins"));
}

static bool refuse(struct request *r, const char *code, const char *message)
{
    tell(r);
    r->bridge->stats.origin_refused++;
    request_error(r, 403, code, message);
    return false;
}

bool origin_admit(struct request *r)
{
    struct site host;

    if (r->bridge->conf->auth == AUTH_MODE_NONE &&
        !(site_of_host(http_header(&r->http, "Host"), "http", &host) &&
          site_loopback(&host)))
        return refuse(r, "host_not_allowed",
                      "without authentication only localhost, 127.0.0.1 and [::1] are "
                      "served");
    switch (r->http.method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return true;
    case HTTP_OPTIONS:
        answer_options(r);
        return false;
    case HTTP_POST:
    case HTTP_DELETE:
        break;
    }
    return source_allowed(r) ||
           refuse(r, "origin_not_allowed", "this origin may not do that");
}

/* Once a response, however often it is asked for. */
void origin_cors(struct request *r)
{
    struct span origin = http_header(&r->http, "Origin");
    const char *allowed = r->bridge->conf->allowed_origins;
    char text[SITE_HOST_SIZE + SITE_SCHEME_SIZE + 16];

    if (r->extra.data && strstr(r->extra.data, "Vary: Origin"))
        return;
    if (origin.at || (allowed && *allowed))
        request_header(r, "Vary", "Origin");
    if (!origin.at || origin.len >= sizeof(text) || !origin_allowed(r, origin))
        return;
    memcpy(text, origin.at, origin.len);
    text[origin.len] = '\0';
    request_header(r, "Access-Control-Allow-Origin", text);
    request_header(r, "Access-Control-Allow-Credentials", "true");
    request_header(r, "Access-Control-Expose-Headers", "X-Request-Id");
}

/* What the visitor's browser calls us, as far as it can be known: its own word if it is a
 * name of ours, then the operator's, then what the request came to. */
static bool seen_as(const struct request *r, struct site *ret)
{
    const char *public_origin = r->bridge->conf->public_origin;
    bool own = origin_own(r, ret);
    struct span first;
    struct site site;
    size_t pos = 0;

    if (site_parse(http_header(&r->http, "Origin"), &site) &&
        ((own && site_equal(&site, ret)) || listed(public_origin, &site))) {
        *ret = site;
        return true;
    }
    return (site_list_next(public_origin, &pos, &first) && site_parse(first, ret)) || own;
}

bool origin_secure(const struct request *r)
{
    struct site site;

    if (https(r) || !seen_as(r, &site) || strcmp(site.scheme, "http") != 0)
        return true;
    return !site_loopback(&site) && !listed(r->bridge->conf->public_origin, &site);
}

static bool host_listed(const char *list, const struct site *own)
{
    struct span item;
    struct site other;
    size_t pos = 0;

    while (site_list_next(list, &pos, &item))
        if (site_parse(item, &other) && !strcmp(own->host, other.host))
            return true;
    return false;
}

bool origin_host_known(const struct request *r)
{
    const struct bridge_conf *conf = r->bridge->conf;
    struct site own;

    return origin_own(r, &own) && (site_local(&own) || from_trusted_proxy(r) ||
                                   host_listed(conf->public_origin, &own) ||
                                   host_listed(conf->allowed_origins, &own));
}

bool origin_list_valid(const char *list, struct buf *err)
{
    struct span item;
    struct site site;
    size_t pos = 0;

    while (site_list_next(list, &pos, &item)) {
        if (!site_parse(item, &site)) {
            buf_printf(err,
                       "'%.*s' is not an origin: write scheme://host or "
                       "scheme://host:port, without a path",
                       (int)item.len, item.at);
            return false;
        }
    }
    return true;
}
