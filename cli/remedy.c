/* remedy: see remedy.h. `{}` in a line is the finding's word. Only lines that change what
 * was found: who has none for a product does not get it wrong there. */
#include "cli/remedy.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct remedy {
    enum trouble trouble;
    enum product product;
    const char *lines;
} remedies[] = {
    {TROUBLE_TLS, PRODUCT_HERE,
     "a certificate for this very name, with its intermediates (fullchain.pem)\n"
     "one of an authority of your own: --ca-file; to look past it: --insecure"},
    {TROUBLE_CERTIFICATE, PRODUCT_HERE, "renew it; a certbot or acme timer has stopped?"},
    {TROUBLE_REDIRECT, PRODUCT_HERE,
     "let pages use the address that it leads to, and ask me again:\n"
     "threadcast doctor {}"},
    {TROUBLE_SIGN_IN, PRODUCT_NGINX,
     "location /v1/ { auth_request off; auth_basic off; … }   # the bridge asks itself"},
    {TROUBLE_SIGN_IN, PRODUCT_CLOUDFLARE,
     "Zero Trust, Access: an application for /v1/* with the policy Bypass"},
    {TROUBLE_SIGN_IN, PRODUCT_BRIDGE,
     "it checks tokens itself (JWT_…, AUTHORIZE_URL); in front nobody has to"},
    {TROUBLE_SIGN_IN, PRODUCT_HERE,
     "or show me what it wants: --header 'Cookie: …', --header 'Authorization: …'"},
    {TROUBLE_PAGE, PRODUCT_NGINX,
     "location /v1/ { proxy_pass http://127.0.0.1:8080; }   # before the page's own"},
    {TROUBLE_PAGE, PRODUCT_HAPROXY, "use_backend threadcast if { path_beg /v1/ }"},
    {TROUBLE_PAGE, PRODUCT_CADDY, "reverse_proxy /v1/* 127.0.0.1:8080"},
    {TROUBLE_PAGE, PRODUCT_APACHE, "ProxyPass /v1/ http://127.0.0.1:8080/v1/"},
    {TROUBLE_PAGE, PRODUCT_HERE, "or is the bridge's path missing in the address?"},
    {TROUBLE_NO_BRIDGE, PRODUCT_BRIDGE,
     "does it run, and is it ready? curl -i http://127.0.0.1:8080/readyz\n"
     "does it listen where the proxy looks? --listen (127.0.0.1:8080 by default)"},
    {TROUBLE_WRONG_PATH, PRODUCT_HERE, "the address with the bridge's path: {}"},
    {TROUBLE_WRONG_PATH, PRODUCT_NGINX,
     "location /live/ { proxy_pass http://127.0.0.1:8080; }   # no slash at its end"},
    {TROUBLE_WRONG_PATH, PRODUCT_BRIDGE,
     "--base-path /live   # when the proxy passes paths as they are"},
    {TROUBLE_TOO_OLD, PRODUCT_BRIDGE, "one of this version; and not --max-probes 0"},
    {TROUBLE_HOST, PRODUCT_BRIDGE,
     "authentication (JWT_SECRET, …) in place of --auth none"},
    {TROUBLE_HOST, PRODUCT_NGINX, "proxy_set_header Host 127.0.0.1;   # for a laptop"},
    {TROUBLE_RATE, PRODUCT_NGINX, "take limit_req away from this location"},
    {TROUBLE_RATE, PRODUCT_CLOUDFLARE,
     "an exception for /v1/* in the rate limiting rule"},
    {TROUBLE_NO_STREAM, PRODUCT_HERE, "look at it: curl -i <address>/v1/probe"},

    {TROUBLE_BUFFERING, PRODUCT_NGINX,
     "proxy_buffering off;\n"
     "# and take away: proxy_ignore_headers X-Accel-Buffering;"},
    {TROUBLE_BUFFERING, PRODUCT_HAPROXY,
     "# it passes text on by itself; take away: http-response wait-for-body"},
    {TROUBLE_BUFFERING, PRODUCT_CADDY,
     "# it passes streams on by itself; take away: buffer_responses, response_buffers"},
    {TROUBLE_BUFFERING, PRODUCT_APACHE,
     "ProxyPass / http://127.0.0.1:8080/ flushpackets=on"},
    {TROUBLE_BUFFERING, PRODUCT_CLOUDFLARE,
     "Configuration Rules: Response Buffering off for /v1/* (its default)"},
    {TROUBLE_BUFFERING, PRODUCT_ALB,
     "it does not buffer, but an API Gateway does: put the ALB in its place"},
    {TROUBLE_COMPRESSION, PRODUCT_NGINX,
     "gzip off;   # and brotli off; where there is one\n"
     "# or take away: proxy_ignore_headers X-Accel-Buffering;"},
    {TROUBLE_COMPRESSION, PRODUCT_HAPROXY,
     "compression type text/html text/css application/javascript   # no event-stream"},
    {TROUBLE_COMPRESSION, PRODUCT_CADDY,
     "# it obeys no-transform: take away what changes Cache-Control"},
    {TROUBLE_COMPRESSION, PRODUCT_APACHE, "SetEnvIf Request_URI /v1/ no-gzip=1"},
    {TROUBLE_COMPRESSION, PRODUCT_CLOUDFLARE,
     "Compression Rules: no compression for text/event-stream"},
    {TROUBLE_HTTP10, PRODUCT_NGINX,
     "proxy_http_version 1.1;\n"
     "proxy_set_header Connection \"\";"},
    {TROUBLE_HTTP10, PRODUCT_APACHE,
     "# take away: SetEnv force-proxy-request-1.0, proxy-nokeepalive, downgrade-1.0"},
    {TROUBLE_HTTP10, PRODUCT_HAPROXY, "# it speaks 1.1: look at who stands around it"},
    {TROUBLE_IDLE, PRODUCT_NGINX, "proxy_read_timeout 1h;"},
    {TROUBLE_IDLE, PRODUCT_HAPROXY,
     "timeout client 60s   # both above --keepalive-ms\n"
     "timeout server 60s"},
    {TROUBLE_IDLE, PRODUCT_CADDY,
     "reverse_proxy 127.0.0.1:8080 { transport http { read_timeout 1h } }"},
    {TROUBLE_IDLE, PRODUCT_APACHE, "ProxyTimeout 3600"},
    {TROUBLE_IDLE, PRODUCT_CLOUDFLARE,
     "it waits for 100 s and cannot be told to (Enterprise can): see the bridge's line"},
    {TROUBLE_IDLE, PRODUCT_ALB,
     "aws elbv2 modify-load-balancer-attributes --load-balancer-arn … \\\n"
     "    --attributes Key=idle_timeout.timeout_seconds,Value=3600"},
    {TROUBLE_IDLE, PRODUCT_BRIDGE, "--keepalive-ms {}   # when that cannot be changed"},
    {TROUBLE_TIME_LIMIT, PRODUCT_NGINX, "proxy_read_timeout 1h;\nsend_timeout 1h;"},
    {TROUBLE_TIME_LIMIT, PRODUCT_HAPROXY, "timeout client 60s\ntimeout server 60s"},
    {TROUBLE_TIME_LIMIT, PRODUCT_HERE,
     "functions and gateways count whole answers: is one of them in between?"},
    {TROUBLE_TIME_LIMIT, PRODUCT_BRIDGE,
     "--max-stream-age-ms {}   # else: it says `bye` first, and readers lose nothing"},
    {TROUBLE_KEEPALIVES, PRODUCT_HERE,
     "something reads the stream and writes it anew: a function, an \"SSE middleware\".\n"
     "It has to pass comment lines (`:keepalive`) on at once"},
    {TROUBLE_CUT, PRODUCT_HERE, "ask again; its log, and the bridge's, say who closed"},
    {TROUBLE_REQUEST_HEADERS, PRODUCT_NGINX,
     "# take away: proxy_set_header {} …;  proxy_pass_request_headers off;"},
    {TROUBLE_REQUEST_HEADERS, PRODUCT_HAPROXY, "# take away: http-request del-header {}"},
    {TROUBLE_REQUEST_HEADERS, PRODUCT_CADDY, "# take away: header_up -{}"},
    {TROUBLE_REQUEST_HEADERS, PRODUCT_APACHE, "# take away: RequestHeader unset {}"},
    {TROUBLE_REQUEST_HEADERS, PRODUCT_CLOUDFLARE,
     "Transform Rules: do not remove {}; Cache Rules: bypass the cache for /v1/*"},
    {TROUBLE_CONTENT_TYPE, PRODUCT_NGINX,
     "# take away: proxy_hide_header Content-Type; add_header Content-Type …;"},
    {TROUBLE_CONTENT_TYPE, PRODUCT_HAPROXY,
     "# take away: http-response set-header Content-Type"},
    {TROUBLE_CONTENT_TYPE, PRODUCT_APACHE,
     "# take away: ForceType, Header set Content-Type"},
    {TROUBLE_CACHE, PRODUCT_NGINX,
     "proxy_cache off;\n"
     "# and take away: expires …; proxy_hide_header Cache-Control;"},
    {TROUBLE_CACHE, PRODUCT_HAPROXY,
     "# take away: http-request cache-use, http-response set-header Cache-Control"},
    {TROUBLE_CACHE, PRODUCT_CADDY, "# take away: header Cache-Control …"},
    {TROUBLE_CACHE, PRODUCT_APACHE, "CacheDisable /v1/\n# take away: ExpiresActive"},
    {TROUBLE_CACHE, PRODUCT_CLOUDFLARE,
     "Cache Rules: bypass the cache for /v1/*; Browser Cache TTL: respect origin"},
    {TROUBLE_STREAMS, PRODUCT_NGINX,
     "limit_conn …;   # more than a page with its tabs opens, or away with it\n"
     "worker_connections 10240;"},
    {TROUBLE_STREAMS, PRODUCT_HAPROXY,
     "maxconn 10000   # of the frontend and the server; each stream is one"},
    {TROUBLE_STREAMS, PRODUCT_BRIDGE,
     "--max-clients, --max-clients-per-ip (0: none), --max-streams-per-user"},
    {TROUBLE_ORIGIN, PRODUCT_BRIDGE, "--public-origin {}"},
    {TROUBLE_ORIGIN, PRODUCT_NGINX,
     "proxy_set_header Host $http_host;   # and --trusted-proxies at the bridge\n"
     "proxy_set_header X-Forwarded-Proto $scheme;"},
    {TROUBLE_ORIGIN, PRODUCT_HAPROXY,
     "http-request set-header X-Forwarded-Proto https if { ssl_fc }   # and "
     "--trusted-proxies"},
    {TROUBLE_ORIGIN, PRODUCT_CADDY, "# it passes Host: --trusted-proxies at the bridge"},
    {TROUBLE_ORIGIN, PRODUCT_APACHE,
     "ProxyPreserveHost On   # and --trusted-proxies at the bridge\n"
     "RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}"},
    {TROUBLE_POST, PRODUCT_NGINX,
     "# take away: limit_except GET { deny all; }, and what else is for GET alone"},
    {TROUBLE_POST, PRODUCT_CLOUDFLARE, "WAF: an exception for POST /v1/*"},
    {TROUBLE_POST, PRODUCT_HERE, "look at it: curl -i -X POST <address>/v1/session"},
    {TROUBLE_TOKEN, PRODUCT_BRIDGE,
     "--log-level debug says why, never the token; a new one:\n"
     "threadcast-bridge token --sub me --probe"},
    {TROUBLE_ADDRESS, PRODUCT_BRIDGE, "--trusted-proxies {}"},
    {TROUBLE_CLOCK, PRODUCT_HERE,
     "NTP on both machines: timedatectl set-ntp true; which of the two is wrong?"},
};

const char *product_name(enum product p)
{
    static const char *const names[PRODUCTS] = {
        [PRODUCT_NONE] = "",           [PRODUCT_NGINX] = "nginx",
        [PRODUCT_HAPROXY] = "HAProxy", [PRODUCT_CADDY] = "Caddy",
        [PRODUCT_APACHE] = "Apache",   [PRODUCT_CLOUDFLARE] = "Cloudflare",
        [PRODUCT_ALB] = "AWS ALB",     [PRODUCT_OTHER] = "",
        [PRODUCT_BRIDGE] = "bridge",   [PRODUCT_HERE] = "",
    };
    return names[p];
}

enum product product_of(const struct answer *a, char *word, size_t size)
{
    static const struct {
        const char *header, *part;
        enum product product;
    } signs[] = {
        {"CF-Ray", "", PRODUCT_CLOUDFLARE},
        {"Server", "cloudflare", PRODUCT_CLOUDFLARE},
        {"Server", "awselb", PRODUCT_ALB},
        {"Server", "nginx", PRODUCT_NGINX},
        {"Server", "openresty", PRODUCT_NGINX},
        {"Server", "caddy", PRODUCT_CADDY},
        {"Via", "caddy", PRODUCT_CADDY},
        {"Server", "apache", PRODUCT_APACHE},
        {"Server", "haproxy", PRODUCT_HAPROXY},
        {"Server", "", PRODUCT_OTHER},
        {"Via", "", PRODUCT_OTHER},
        {"X-Vercel-Id", "", PRODUCT_OTHER},
        {"X-Amz-Cf-Id", "", PRODUCT_OTHER},
    };

    for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
        char value[200];
        if (!answer_header(a, signs[i].header, value, sizeof(value)) ||
            !strcasestr(value, signs[i].part))
            continue;
        snprintf(word, size, "%s: %s", signs[i].header, value);
        return signs[i].product;
    }
    snprintf(word, size, "%s", "");
    return PRODUCT_NONE;
}

static void add_filled(struct buf *out, const char *lines, const char *word)
{
    for (const char *at = lines; *at; at++) {
        if (at[0] == '{' && at[1] == '}') {
            buf_str(out, word);
            at++;
        } else {
            buf_char(out, *at);
        }
    }
    buf_char(out, '\n');
}

bool remedy_lines(const struct finding *f, enum product p, struct buf *out)
{
    bool any = false;

    for (size_t i = 0; i < sizeof(remedies) / sizeof(*remedies); i++) {
        const struct remedy *r = &remedies[i];
        if (r->trouble != f->trouble || r->product != p)
            continue;
        add_filled(out, r->lines, f->word);
        any = true;
    }
    return any;
}
