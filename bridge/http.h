/* http: a strict reader of HTTP/1.1 (and 1.0) request heads. Pure: bytes in, a struct of
 * spans or a refusal out; it owns no socket and allocates nothing. Everything RFC 9112
 * lets a server refuse is refused. */
#ifndef THREADCAST_HTTP_H
#define THREADCAST_HTTP_H

#include "common/event.h" /* struct span */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_MAX 4096 /* request line, 414 beyond */
#define HTTP_HEAD_MAX 8192 /* whole head, 431 beyond */
#define HTTP_HEADERS_MAX 100
#define HTTP_BODY_MAX (64u * 1024)

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_DELETE, HTTP_OPTIONS };

struct http_header {
    struct span name;  /* as sent; compared without case */
    struct span value; /* trimmed */
};

/* Spans borrow the head's bytes. */
struct http_request {
    enum http_method method;
    int minor;             /* HTTP/1.minor, 0 or 1 */
    struct span target;    /* as sent */
    struct span authority; /* of absolute-form (equals Host); {NULL,0} otherwise */
    struct span path;      /* before '?' , still percent-encoded, begins with '/' */
    struct span query;     /* behind '?', may be empty */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    uint64_t content_length; /* 0 when absent */
    bool has_content_length;
    bool keep_alive; /* from version and Connection */
    bool expect_continue;
};

enum http_status_kind { HTTP_MORE, HTTP_DONE, HTTP_REFUSED };

struct http_refusal {
    int status;          /* 400 413 414 417 431 501 505 */
    const char *code;    /* stable, for the error body: "bad_header" */
    const char *message; /* for people */
};

/* Looks for the end of the head in data[0..len). `*scan` is kept by the caller (0 at
 * first) so that a head dribbled byte by byte is looked at once. HTTP_DONE: `*ret_len` is
 * the head's length with its blank line and `ret` is filled. HTTP_REFUSED as early as the
 * bytes allow (first byte of a TLS hello, a line that is too long, …). */
enum http_status_kind http_read(const char *data, size_t len, size_t *scan,
                                struct http_request *ret, size_t *ret_len,
                                struct http_refusal *ret_refusal);

/* The value of a header, {NULL,0} when absent. Headers that must not repeat (Host,
 * Content-Length, Authorization, Cookie, Origin, Content-Type, Last-Event-ID,
 * Idempotency-Key, Expect, Sec-Fetch-Site) were refused by http_read when they did.
 * `name` in any case. */
struct span http_header(const struct http_request *r, const char *name);

const char *http_reason(int status); /* "Not Found" */

/* Percent-decodes one path segment or query value into out (size incl. NUL). false: bad
 * escape, NUL or control character, does not fit, invalid UTF-8. plus: '+' is a space. */
bool http_decode(struct span in, bool plus, char *out, size_t size, size_t *ret_len);

/* Walks a query string: *pos = 0 at first; false at the end. Spans are still encoded. */
bool http_query_next(struct span query, size_t *pos, struct span *ret_name,
                     struct span *ret_value);
/* The first value of `name`, decoded. 0: absent, and out is ""; 1: found; -1: malformed
 * or twice. */
int http_query_get(struct span query, const char *name, char *out, size_t size);

#endif
