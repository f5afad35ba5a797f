/* fetch: asks other people's HTTP(S) servers, without ever blocking the loop. One fetcher
 * a loop keeps connections and TLS sessions; one fetch is one question.
 *
 *     fetch_start ─▶ … turns of the loop … ─▶ fn(answer)      or fetch_cancel
 *     fetch_start ─▶ on_head ─▶ on_body, on_body … ─▶ fn(answer)        with a reader
 *
 * The answer is read whole, up to a limit, or handed over as it comes. Redirects are
 * answers, never followed. Proxies are taken from the environment as curl does it
 * (http_proxy, https_proxy, all_proxy, no_proxy). Only fetch.c sees libcurl. */
#ifndef THREADCAST_FETCH_H
#define THREADCAST_FETCH_H

#include "common/buf.h"

#include <stdint.h>

struct fetch;
struct fetcher;
struct loop;

struct fetch_header {
    const char *name, *value;
};

/* Hears an answer as it comes. Called from the loop and never from inside fetch_start;
 * may start, pause, resume and cancel fetches, its own as well. */
struct fetch_reader {
    /* Status and headers (fetch_header) are there. Once, before any body. */
    void (*on_head)(struct fetch *q, int status, void *arg);
    /* The next bytes of the body. */
    void (*on_body)(struct fetch *q, const char *data, size_t len, void *arg);
};

/* Everything in it is borrowed until fetch_start returns; the reader for good. */
struct fetch_request {
    const char *url;                    /* as fetch_url_check wants it */
    const struct fetch_header *headers; /* besides those that HTTP itself needs */
    size_t header_count;
    const void *body; /* NULL: a GET; else a POST, with a Content-Type of the caller's */
    size_t body_len;
    int64_t connect_ms; /* for the name, TCP and TLS; 0: total_ms */
    int64_t total_ms;   /* for all of it; above 0 */
    size_t body_max;    /* bytes of the answer's body; more is a failure; 0: 64 KiB */
    const struct fetch_reader *reader; /* NULL: the body comes with the answer */
};

struct fetch_answer {
    int status;       /* 200, 302, 503, …; 0: there is no whole answer, `why` says it */
    const char *why;  /* a line for a log, without URL or secret; "" with a status */
    const char *body; /* NUL-terminated; with a reader empty */
    size_t body_len;
    bool is_untrusted;     /* its certificate: asking again is in vain */
    int64_t retry_after_s; /* what Retry-After says, as seconds or a date; 0: nothing */
    const struct fetch *fetch; /* for fetch_answer_header */
};

/* Borrows the answer. Called once, from the loop and never from inside fetch_start. May
 * start and cancel other fetches. */
typedef void fetch_fn(const struct fetch_answer *answer, void *arg);

/* The value of the first header of this name (any case), or NULL; until fn returns. */
const char *fetch_header(const struct fetch *q, const char *name);
const char *fetch_answer_header(const struct fetch_answer *answer, const char *name);

/* `ca_file` (PEM, borrowed for good; NULL: the system's): who may sign servers'
 * certificates. From the main thread, for a loop that is run by one. Returns new, or NULL
 * with the reason in `err`. */
struct fetcher *fetcher_new(struct loop *l, const char *ca_file, struct buf *err);
/* What is under way ends without its `fn`. Not from inside a callback. NULL is fine. */
void fetcher_free(struct fetcher *f);

/* Returns what fetch_cancel takes, gone once `fn` was called; NULL: no memory, a header
 * with a control character in it, or FETCHES_MAX are under way. */
#define FETCHES_MAX 1024
struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *r, fetch_fn *fn,
                          void *arg);
void fetch_cancel(struct fetch *q); /* `fn` is then not called; NULL is fine */
/* The same for an answer of which everything that matters was read: its end is awaited
 * for a moment, so that the connection can be used again. With a reader only. */
void fetch_leave(struct fetch *q);
/* No on_body until fetch_resume; what comes meanwhile waits, and then the other end. With
 * a reader only. */
void fetch_pause(struct fetch *q);
void fetch_resume(struct fetch *q);

/* http:// or https:// with a host, and no user, password or fragment: those would end up
 * in logs. false: `err` says what is wrong. For the table of options. */
bool fetch_url_check(const char *url, struct buf *err);

#endif
