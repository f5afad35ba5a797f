/* transfer: see transfer.h. Redirects are answers and are not followed. Proxies that the
 * environment names (https_proxy, no_proxy) are used as curl does it. */
#include "cli/transfer.h"

#include "common/clock.h"
#include "threadcast_version.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 64 << 10, DAY_S = 86400 };

/* One under way. */
struct running {
    struct transfer *transfer;
    CURL *easy;
    struct curl_slist *headers;
    int64_t began_us;
    char error[CURL_ERROR_SIZE];
};

/* --- what comes --------------------------------------------------------------------- */

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    struct running *r = arg;
    struct answer *a = &r->transfer->answer;

    (void)one;
    if (a->body.len + len > TRANSFER_BODY_MAX ||
        a->arrival_count == TRANSFER_ARRIVALS_MAX)
        return 0; /* no probe is as long as that */
    buf_add(&a->body, data, len);
    a->arrivals[a->arrival_count++] =
        (struct arrival){.us = clock_us() - r->began_us, .bytes = a->body.len};
    return a->body.failed ? 0 : len;
}

/* Of several answers (100, a proxy's CONNECT) the last one's head stays. */
static size_t on_head(char *data, size_t one, size_t len, void *arg)
{
    struct answer *a = &((struct running *)arg)->transfer->answer;

    (void)one;
    if (len > 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_clear(&a->head);
    if (a->head.len + len <= HEAD_MAX)
        buf_add(&a->head, data, len);
    return len;
}

/* --- one request -------------------------------------------------------------------- */

static bool add_headers(struct running *r)
{
    for (size_t i = 0; i < r->transfer->header_count; i++) {
        struct curl_slist *more = curl_slist_append(r->headers, r->transfer->headers[i]);
        if (!more)
            return false;
        r->headers = more;
    }
    return true;
}

static void set_options(struct running *r)
{
    const struct transfer *t = r->transfer;

    curl_easy_setopt(r->easy, CURLOPT_URL, t->url);
    curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "threadcast-doctor/" THREADCAST_VERSION);
    curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)t->connect_ms);
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)t->total_ms);
    curl_easy_setopt(r->easy, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    if (t->compressed)
        curl_easy_setopt(r->easy, CURLOPT_ACCEPT_ENCODING, "");
    if (t->ca_file)
        curl_easy_setopt(r->easy, CURLOPT_CAINFO, t->ca_file);
    if (t->insecure) {
        curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (t->post)
        curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, "");
}

static bool begin(struct running *r, CURLM *multi)
{
    struct answer *a = &r->transfer->answer;

    a->arrivals = calloc(TRANSFER_ARRIVALS_MAX, sizeof(*a->arrivals));
    r->easy = curl_easy_init();
    if (!a->arrivals || !r->easy || !add_headers(r))
        return false;
    set_options(r);
    r->began_us = clock_us();
    a->began_wall_ms = clock_wall_ms();
    a->certificate_days = -1;
    a->end = TRANSFER_ODD;
    return curl_multi_add_handle(multi, r->easy) == CURLM_OK;
}

/* --- its end ------------------------------------------------------------------------ */

static enum transfer_end end_of(CURLcode code, int status)
{
    switch ((int)code) { /* curl's numbers, not an enum of ours */
    case CURLE_OK:
    case CURLE_WRITE_ERROR: /* we had enough */
        return TRANSFER_WHOLE;
    case CURLE_OPERATION_TIMEDOUT:
        return TRANSFER_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return TRANSFER_NO_NAME;
    case CURLE_COULDNT_CONNECT:
        return TRANSFER_NO_CONNECTION;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return TRANSFER_TLS;
    }
    return status ? TRANSFER_CUT : TRANSFER_ODD;
}

static int64_t info_us(CURL *easy, CURLINFO what)
{
    curl_off_t us = 0;

    curl_easy_getinfo(easy, what, &us);
    return (int64_t)us;
}

static int http_version(CURL *easy)
{
    long version = 0;

    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    return version == CURL_HTTP_VERSION_1_0   ? 10
           : version == CURL_HTTP_VERSION_1_1 ? 11
           : version == CURL_HTTP_VERSION_3   ? 30
           : version == CURL_HTTP_VERSION_2_0 ? 20
                                              : 0;
}

/* Of the server's own certificate, the first of the chain. */
static int64_t certificate_days(CURL *easy)
{
    static const char name[] = "Expire date:";
    struct curl_certinfo *chain = NULL;

    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) != CURLE_OK || !chain ||
        chain->num_of_certs < 1)
        return -1;
    for (const struct curl_slist *line = chain->certinfo[0]; line; line = line->next) {
        if (strncasecmp(line->data, name, sizeof(name) - 1) != 0)
            continue;
        time_t ends = curl_getdate(line->data + sizeof(name) - 1, NULL);
        int64_t left = (int64_t)ends - clock_wall_ms() / 1000;
        return ends < 0 ? -1 : left < 0 ? 0 : left / DAY_S;
    }
    return -1;
}

static void finish(struct running *r, CURLcode code)
{
    struct answer *a = &r->transfer->answer;
    long status = 0;

    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    a->status = (int)status;
    a->end = end_of(code, a->status);
    a->http = http_version(r->easy);
    a->connected_us = info_us(r->easy, CURLINFO_CONNECT_TIME_T);
    a->secured_us = info_us(r->easy, CURLINFO_APPCONNECT_TIME_T);
    a->asked_us = info_us(r->easy, CURLINFO_PRETRANSFER_TIME_T);
    a->first_us = info_us(r->easy, CURLINFO_STARTTRANSFER_TIME_T);
    a->ended_us = clock_us() - r->began_us;
    a->certificate_days = certificate_days(r->easy);
    if (a->end != TRANSFER_WHOLE)
        snprintf(a->why, sizeof(a->why), "%s",
                 r->error[0] ? r->error : curl_easy_strerror(code));
}

static void collect(CURLM *multi)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(multi, &left))) {
        struct running *r = NULL;
        CURLcode code = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        if (msg->msg == CURLMSG_DONE && r)
            finish(r, code);
    }
}

bool transfers_run(struct transfer *const *list, size_t count)
{
    struct running *all = calloc(count, sizeof(*all));
    CURLM *multi = curl_multi_init();
    int under_way = 1;
    bool ok = all && multi;

    for (size_t i = 0; ok && i < count; i++) {
        all[i].transfer = list[i];
        ok = begin(&all[i], multi);
    }
    while (ok && under_way) {
        ok = curl_multi_perform(multi, &under_way) == CURLM_OK;
        collect(multi);
        if (ok && under_way)
            ok = curl_multi_poll(multi, NULL, 0, 1000, NULL) == CURLM_OK;
    }
    for (size_t i = 0; all && i < count; i++) {
        if (all[i].easy && multi)
            curl_multi_remove_handle(multi, all[i].easy);
        curl_easy_cleanup(all[i].easy);
        curl_slist_free_all(all[i].headers);
    }
    curl_multi_cleanup(multi);
    free(all);
    return ok;
}

/* --- answers ------------------------------------------------------------------------ */

void answer_fini(struct answer *a)
{
    buf_fini(&a->head);
    buf_fini(&a->body);
    free(a->arrivals);
    *a = (struct answer){.status = 0};
}

bool answer_header(const struct answer *a, const char *name, char *out, size_t size)
{
    const char *line = a->head.data;
    size_t len = strlen(name);

    while (line && *line) {
        size_t n = strcspn(line, "\r\n");
        if (n > len && line[len] == ':' && strncasecmp(line, name, len) == 0) {
            size_t at = len + 1;
            while (at < n && line[at] == ' ')
                at++;
            snprintf(out, size, "%.*s", (int)(n - at), line + at);
            return true;
        }
        line += n;
        line += strspn(line, "\r\n");
    }
    if (size)
        out[0] = '\0';
    return false;
}

/* --- where -------------------------------------------------------------------------- */

static bool place_read(CURLU *url, struct place *ret, struct buf *err)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *user = NULL;
    bool ok = false;

    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    curl_url_get(url, CURLUPART_HOST, &host, 0);
    curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
    curl_url_get(url, CURLUPART_PATH, &path, 0);
    curl_url_get(url, CURLUPART_USER, &user, 0);
    if (!scheme || !host || !path ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        buf_str(err, "say http://… or https://…, with a host");
    } else if (user) {
        buf_str(err, "no user or password in the address: --header does that");
    } else if (strlen(host) > 255 || strlen(path) >= sizeof(ret->path)) {
        buf_str(err, "the address is too long");
    } else {
        for (char *at = host; *at; at++) /* as browsers write it in Origin */
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
        ret->https = strcmp(scheme, "https") == 0;
        snprintf(ret->origin, sizeof(ret->origin), "%s://%s%s%s", scheme, host,
                 port ? ":" : "", port ? port : "");
        snprintf(ret->path, sizeof(ret->path), "%s", path);
        ok = true;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_free(user);
    return ok;
}

bool place_parse(const char *text, struct place *ret, struct buf *err)
{
    CURLU *url = curl_url();
    bool ok = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;

    if (!ok)
        buf_str(err, "that is no address: say https://chat.example, or with a path");
    ok = ok && place_read(url, ret, err);
    curl_url_cleanup(url);
    if (!ok)
        return false;
    char *route = strstr(ret->path, "/v1/");
    if (route)
        *route = '\0';
    for (size_t len = strlen(ret->path); len && ret->path[len - 1] == '/'; len--)
        ret->path[len - 1] = '\0';
    return true;
}
