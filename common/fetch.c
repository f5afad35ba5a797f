/* fetch: libcurl's multi interface on our loop. curl says which sockets and which timer
 * it waits for; we wait, tell it what happened, and then collect what has ended:
 *
 *   socket or timer ─▶ curl_multi_socket_action ─▶ collect ─▶ finish ─▶ fn
 *
 * Callbacks of the caller's run from `collect` alone, when no call into curl is on the
 * stack, so they may start and cancel. Names are resolved by curl's own threads, for
 * which nobody ever waits.
 *
 * A body that is wanted as it comes (a model provider's stream) waits in the same buffer
 * as one that is wanted whole, and `collect` hands it over: on_head, on_body …, fn. A
 * reader that pauses leaves it there; a full buffer makes curl stop reading its socket,
 * which is how the other end notices. */
#include "common/fetch.h"

#include "common/fetch_internal.h"
#include "common/loop.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdlib.h>

void fetch_free(struct fetch *q)
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

/* Out of every list, and away from curl. */
void fetch_take_out(struct fetch *q)
{
    struct fetcher *f = q->fetcher;

    /* One that is cut short: curl 7.88 keeps the message that says so to a server of
     * HTTP/2 until something else is sent. Without other streams the connection is closed
     * instead; with them, their next bytes take it along. */
    if (q->reader && !q->over)
        curl_easy_setopt(q->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_multi_remove_handle(f->multi, q->easy);
    list_remove(&q->node);
    list_remove(&q->news);
    if (q->is_left)
        f->left_count--;
    else
        f->count--;
}

long fetch_status(const struct fetch *q)
{
    long status = 0;

    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

void fetch_finish(struct fetch *q, CURLcode code)
{
    struct fetch_answer a = {.why = "", .fetch = q};
    curl_off_t later_s = 0;

    if (code == CURLE_OK)
        a.status = (int)fetch_status(q);
    if (!a.status)
        a.why = code == CURLE_OK ? "no answer" : reason(q, code);
    a.is_untrusted = code == CURLE_PEER_FAILED_VERIFICATION;
    curl_easy_getinfo(q->easy, CURLINFO_RETRY_AFTER, &later_s);
    a.retry_after_s = later_s > 0 ? (int64_t)later_s : 0;
    a.body = q->body.data ? q->body.data : "";
    a.body_len = q->body.len;
    fetch_take_out(q);
    q->done = true;
    q->fn(&a, q->arg);
    fetch_free(q);
}

static void end(struct fetch *q, CURLcode code)
{
    if (q->is_left) {
        fetch_take_out(q);
        fetch_free(q);
    } else if (q->reader) {
        q->over = true;
        q->code = code;
        fetch_mark(q);
    } else {
        fetch_finish(q, code);
    }
}

static void collect(struct fetcher *f)
{
    CURLMsg *msg;
    struct list *node;
    int left;

    do {
        while ((node = list_pop(&f->news)))
            fetch_hand_over(LIST_ITEM(node, struct fetch, news));
        while ((msg = curl_multi_info_read(f->multi, &left))) {
            struct fetch *q = NULL;
            CURLcode code = msg->data.result; /* msg is gone with the next call */
            curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &q);
            if (msg->msg == CURLMSG_DONE && q)
                end(q, code);
        }
    } while (!list_empty(&f->news));
}

static void on_later(void *arg)
{
    collect(arg);
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

/* Some are younger than LEFT_MS: nobody misses more than their connections. */
static void on_leave(void *arg)
{
    fetch_leave_all(arg);
}

/* --- a fetcher ------------------------------------------------------------------------
 */

static bool make(struct fetcher *f)
{
    f->timer = timer_new(f->loop, on_timeout, f);
    f->later = timer_new(f->loop, on_later, f);
    f->leave = timer_new(f->loop, on_leave, f);
    f->multi = curl_multi_init();
    return f->timer && f->later && f->leave && f->multi &&
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
    list_init(&f->news);
    list_init(&f->left);
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
    fetch_leave_all(f);
    if (f->multi)
        curl_multi_cleanup(f->multi); /* calls on_socket for what it kept */
    timer_free(f->timer);
    timer_free(f->later);
    timer_free(f->leave);
    free(f);
    curl_global_cleanup();
}

/* --- a fetch --------------------------------------------------------------------------
 */

const char *fetch_header(const struct fetch *q, const char *name)
{
    struct curl_header *h = NULL;

    if (curl_easy_header(q->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    return h->value;
}

const char *fetch_answer_header(const struct fetch_answer *answer, const char *name)
{
    return fetch_header(answer->fetch, name);
}

struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *r, fetch_fn *fn,
                          void *arg)
{
    struct fetch *q = f->count < FETCHES_MAX ? calloc(1, sizeof(*q)) : NULL;

    if (!q)
        return NULL;
    list_init(&q->node);
    list_init(&q->news);
    buf_init(&q->body);
    q->fetcher = f;
    q->reader = r->reader;
    q->fn = fn;
    q->arg = arg;
    q->easy = curl_easy_init();
    if (!q->easy || !fetch_ask(q, r) ||
        curl_multi_add_handle(f->multi, q->easy) != CURLM_OK) {
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
    q->cancelled = true;
    if (q->busy)
        return; /* hand_over frees it */
    fetch_take_out(q);
    fetch_free(q);
}
