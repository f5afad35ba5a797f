/* fetch_ask: a question as curl wants it, and curl's callbacks for its answer. What a
 * stranger sent (a header's value) must stay one value. */
#include "common/fetch_internal.h"

#include "threadcast_version.h"

#include <string.h>

static size_t too_large(struct fetch *q)
{
    q->excess = "the answer is larger than it may be";
    return 0;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *q = arg;
    size_t len = size * count;

    if (q->reader)
        return fetch_stream_body(q, data, len);
    buf_add(&q->body, data, len);
    return q->body.failed ? too_large(q) : len;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *q = arg;
    size_t len = size * count;

    /* curl keeps them; an empty line ends those of an answer */
    if (q->reader && len > 0 && (data[0] == '\r' || data[0] == '\n') &&
        fetch_status(q) >= 200) {
        q->headed = true;
        fetch_mark(q);
    }
    q->header_bytes += len;
    if (q->header_bytes <= HEADERS_MAX)
        return len;
    q->excess = "the answer's headers are larger than they may be";
    return 0;
}

static bool printable(const char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
            return false;
    return true;
}

static bool add_header(struct fetch *q, const char *line)
{
    struct curl_slist *longer = curl_slist_append(q->headers, line);

    if (longer)
        q->headers = longer;
    return longer != NULL;
}

static bool add_headers(struct fetch *q, const struct fetch_request *r)
{
    struct buf line;
    bool ok = add_header(q, "Expect:"); /* no round trip before a small body */

    buf_init(&line);
    for (size_t i = 0; i < r->header_count && ok; i++) {
        const struct fetch_header *h = &r->headers[i];
        buf_clear(&line);
        /* to curl "Name:" means that there is none, "Name;" that it is empty */
        buf_printf(&line, *h->value ? "%s: %s" : "%s;", h->name, h->value);
        ok = *h->name && !strpbrk(h->name, ":; \t") && printable(h->name) &&
             printable(h->value) && !line.failed && add_header(q, line.data);
    }
    buf_fini(&line);
    return ok;
}

#define SET(option, value) ok = ok && curl_easy_setopt(q->easy, option, value) == CURLE_OK

static bool set_question(struct fetch *q, const struct fetch_request *r)
{
    bool ok = true;

    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_HTTPHEADER, q->headers);
    SET(CURLOPT_USERAGENT, "threadcast/" THREADCAST_VERSION);
    if (r->body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        SET(CURLOPT_COPYPOSTFIELDS, r->body_len ? r->body : "");
    }
    SET(CURLOPT_TIMEOUT_MS, (long)r->total_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_ms ? r->connect_ms : r->total_ms));
    return ok;
}

static bool set_answer(struct fetch *q, const struct fetch_request *r)
{
    bool ok = true;

    q->taken_max = r->body_max ? r->body_max : BODY_MAX;
    q->body.max = r->reader ? 0 : q->taken_max;
    SET(CURLOPT_WRITEFUNCTION, on_data);
    SET(CURLOPT_WRITEDATA, q);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, q);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)q->taken_max);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_ERRORBUFFER, q->error);
    SET(CURLOPT_PRIVATE, q);
    return ok;
}

static bool set_rules(struct fetch *q)
{
    const struct fetcher *f = q->fetcher;
    bool ok = true;

    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else the end of a fetch waits for getaddrinfo */
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (q->reader) /* streams share a connection when it can be shared */
        SET(CURLOPT_PIPEWAIT, 1L);
    if (f->ca_file)
        SET(CURLOPT_CAINFO, f->ca_file);
    /* reading all of the system's certificates takes 20 ms: curl keeps what comes from
     * one file, but not when there is a directory as well */
    if (f->ca_file || f->bundle)
        SET(CURLOPT_CAPATH, (char *)NULL);
    return ok;
}

bool fetch_ask(struct fetch *q, const struct fetch_request *r)
{
    return add_headers(q, r) && set_question(q, r) && set_answer(q, r) && set_rules(q);
}
