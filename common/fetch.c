/* fetch: libcurl's multi interface on our loop. curl says which sockets and which timer
 * it waits for; we wait, tell it what happened, and then collect what has ended:
 *
 *   socket or timer ─▶ curl_multi_socket_action ─▶ collect ─▶ finish ─▶ fn
 *
 * Callbacks of the caller's run from `collect` alone, when no call into curl is on the
 * stack, so they may start and cancel. Names are resolved by curl's own threads, for
 * which nobody ever waits. A body that is wanted as it comes (a model provider's stream)
 * would be one more callback beside on_data. */
#include "common/fetch.h"

#include "common/list.h"
#include "common/loop.h"
#include "threadcast_version.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADERS_MAX = 32768,  /* bytes of an answer's headers */
    CONNECTIONS_KEPT = 8, /* idle ones */
    BODY_MAX = 65536,     /* unless the caller says otherwise */
};

struct fetcher {
    struct loop *loop;
    CURLM *multi;
    struct timer *timer;
    const char *ca_file;
    bool bundle; /* curl was built with a file of CA certificates */
    struct list fetches;
    size_t count;
};

struct fetch {
    struct list node;
    struct fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body; /* of the answer */
    size_t header_bytes;
    const char *excess; /* which limit the answer passed, or NULL */
    bool done;          /* its fn is being called */
    char error[CURL_ERROR_SIZE];
    fetch_fn *fn;
    void *arg;
};

static void fetch_free(struct fetch *q)
{
    if (q->easy)
        curl_easy_cleanup(q->easy);
    curl_slist_free_all(q->headers);
    buf_fini(&q->body);
    free(q);
}

/* --- what has ended -------------------------------------------------------------------
 */

/* In words, as clear as they are known. */
static const char *reason(const struct fetch *q, CURLcode code)
{
    if (q->excess)
        return q->excess;
    return q->error[0] ? q->error : curl_easy_strerror(code);
}

static void finish(struct fetch *q, CURLcode code)
{
    struct fetch_answer a = {.why = "", .fetch = q};
    long status = 0;

    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK)
        a.status = (int)status;
    if (!a.status)
        a.why = code == CURLE_OK ? "no answer" : reason(q, code);
    a.body = q->body.data ? q->body.data : "";
    a.body_len = q->body.len;
    curl_multi_remove_handle(q->fetcher->multi, q->easy);
    list_remove(&q->node);
    q->fetcher->count--;
    q->done = true;
    q->fn(&a, q->arg);
    fetch_free(q);
}

static void collect(struct fetcher *f)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(f->multi, &left))) {
        struct fetch *q = NULL;
        CURLcode code = msg->data.result; /* msg is gone with the next call */
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &q);
        if (msg->msg == CURLMSG_DONE && q)
            finish(q, code);
    }
}

/* --- sockets and the timer ------------------------------------------------------------
 */

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct fetcher *f = arg;
    int running, mask = 0;

    if (what & EV_READ)
        mask |= CURL_CSELECT_IN;
    if (what & EV_WRITE)
        mask |= CURL_CSELECT_OUT;
    curl_multi_socket_action(f->multi, fd, mask, &running);
    collect(f);
}

static void on_timeout(void *arg)
{
    struct fetcher *f = arg;
    int running;

    curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(f);
}

/* curl waits for this socket, or no longer. Without memory for the event the fetch ends
 * with its time. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct fetcher *f = arg;
    struct event *ev = assigned;
    short kinds = EV_PERSIST;

    (void)easy;
    if (ev)
        event_free(ev);
    ev = NULL;
    if (what != CURL_POLL_REMOVE) {
        if (what & CURL_POLL_IN)
            kinds |= EV_READ;
        if (what & CURL_POLL_OUT)
            kinds |= EV_WRITE;
        ev = event_new(loop_base(f->loop), fd, kinds, on_ready, f);
        if (ev)
            event_add(ev, NULL);
    }
    curl_multi_assign(f->multi, fd, ev);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
    struct fetcher *f = arg;

    (void)multi;
    if (ms < 0)
        timer_stop(f->timer);
    else
        timer_start(f->timer, ms);
    return 0;
}

/* --- a fetcher ------------------------------------------------------------------------
 */

static bool make(struct fetcher *f)
{
    f->timer = timer_new(f->loop, on_timeout, f);
    f->multi = curl_multi_init();
    return f->timer && f->multi &&
           curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f) == CURLM_OK &&
           curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
           curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f) == CURLM_OK &&
           curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT) ==
               CURLM_OK;
}

struct fetcher *fetcher_new(struct loop *l, const char *ca_file, struct buf *err)
{
    struct fetcher *f = calloc(1, sizeof(*f));
    const curl_version_info_data *curl;

    if (!f || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        buf_str(err, "libcurl cannot be started");
        free(f);
        return NULL;
    }
    list_init(&f->fetches);
    f->loop = l;
    f->ca_file = ca_file;
    curl = curl_version_info(CURLVERSION_NOW);
    f->bundle = curl->cainfo != NULL;
    if (!(curl->features & CURL_VERSION_ASYNCHDNS) ||
        !(curl->features & CURL_VERSION_SSL))
        buf_str(err, "this libcurl resolves names in the way, or has no TLS");
    else if (make(f))
        return f;
    else
        buf_str(err, "out of memory");
    fetcher_free(f);
    return NULL;
}

void fetcher_free(struct fetcher *f)
{
    struct list *node;

    if (!f)
        return;
    while ((node = list_next(&f->fetches)) != &f->fetches)
        fetch_cancel(LIST_ITEM(node, struct fetch, node));
    if (f->multi)
        curl_multi_cleanup(f->multi); /* calls on_socket for what it kept */
    timer_free(f->timer);
    free(f);
    curl_global_cleanup();
}

/* --- a fetch --------------------------------------------------------------------------
 */

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *q = arg;
    size_t len = size * count;

    buf_add(&q->body, data, len);
    if (!q->body.failed)
        return len;
    q->excess = "the answer is larger than it may be";
    return 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *q = arg;
    size_t len = size * count;

    (void)data; /* curl keeps them */
    q->header_bytes += len;
    if (q->header_bytes <= HEADERS_MAX)
        return len;
    q->excess = "the answer's headers are larger than they may be";
    return 0;
}

const char *fetch_answer_header(const struct fetch_answer *answer, const char *name)
{
    struct curl_header *h = NULL;

    if (curl_easy_header(answer->fetch->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    return h->value;
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

    q->body.max = r->body_max ? r->body_max : BODY_MAX;
    SET(CURLOPT_WRITEFUNCTION, on_data);
    SET(CURLOPT_WRITEDATA, q);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, q);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)q->body.max);
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
    if (f->ca_file)
        SET(CURLOPT_CAINFO, f->ca_file);
    /* reading all of the system's certificates takes 20 ms: curl keeps what comes from
     * one file, but not when there is a directory as well */
    if (f->ca_file || f->bundle)
        SET(CURLOPT_CAPATH, (char *)NULL);
    return ok;
}

struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *r, fetch_fn *fn,
                          void *arg)
{
    struct fetch *q = f->count < FETCHES_MAX ? calloc(1, sizeof(*q)) : NULL;

    if (!q)
        return NULL;
    list_init(&q->node);
    buf_init(&q->body);
    q->fetcher = f;
    q->fn = fn;
    q->arg = arg;
    q->easy = curl_easy_init();
    if (!q->easy || !add_headers(q, r) || !set_question(q, r) || !set_answer(q, r) ||
        !set_rules(q) || curl_multi_add_handle(f->multi, q->easy) != CURLM_OK) {
        fetch_free(q);
        return NULL;
    }
    list_push(&f->fetches, &q->node);
    f->count++;
    return q;
}

void fetch_cancel(struct fetch *q)
{
    if (!q || q->done)
        return;
    curl_multi_remove_handle(q->fetcher->multi, q->easy);
    list_remove(&q->node);
    q->fetcher->count--;
    fetch_free(q);
}

/* --- addresses ------------------------------------------------------------------------
 */

static bool url_has(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool found = curl_url_get(u, part, &text, 0) == CURLUE_OK;

    curl_free(text);
    return found;
}

static const char *url_fault(CURLU *u, const char *url)
{
    size_t scheme = strncmp(url, "https://", 8) == 0  ? 8
                    : strncmp(url, "http://", 7) == 0 ? 7
                                                      : 0;

    if (!scheme)
        return "must begin with http:// or https://";
    if (url[scheme] == '/' || /* curl would look for the host behind it */
        curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
        return "is not a URL";
    if (url_has(u, CURLUPART_USER) || url_has(u, CURLUPART_PASSWORD))
        return "must not hold a user or password";
    return url_has(u, CURLUPART_FRAGMENT) ? "must not have a #fragment" : NULL;
}

bool fetch_url_check(const char *url, struct buf *err)
{
    CURLU *u = curl_url();
    const char *fault = u ? url_fault(u, url) : "cannot be read: out of memory";

    curl_url_cleanup(u);
    if (fault)
        buf_str(err, fault);
    return !fault;
}
