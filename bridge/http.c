/* http: see http.h. The first thing a stranger's bytes meet. Two steps: a scan that looks
 * at every byte once and refuses what may stand in no head at all (controls, bare CR or
 * LF, too long), and, when the blank line is there, a reading of its lines. What a scan
 * says depends on the bytes alone, never on how they were cut into reads. url.c reads the
 * target. It must never guess: one meaning or a refusal. */
#include "bridge/http.h"

#include "bridge/url.h"

#include <string.h>
#include <strings.h>

static enum http_status_kind refuse(struct http_refusal *ret, int status,
                                    const char *code, const char *message)
{
    *ret = (struct http_refusal){.status = status, .code = code, .message = message};
    return HTTP_REFUSED;
}

/* token of RFC 9110: what a header's name is made of */
static bool is_token(unsigned char c)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c != 0 && strchr(marks, c) != NULL;
}

static bool span_is(struct span s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.at, word, s.len) == 0;
}

/* --- request line ----------------------------------------------------------------- */

static bool method_valid(struct span word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.at[i] < 'A' || word.at[i] > 'Z')
            return false;
    return word.len > 0 && word.len <= 16;
}

static enum http_status_kind read_method(struct span word, struct http_request *ret,
                                         struct http_refusal *why)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",       [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",
        [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (word.len == strlen(names[i]) && memcmp(word.at, names[i], word.len) == 0) {
            ret->method = (enum http_method)i;
            return HTTP_DONE;
        }
    }
    return refuse(why, 501, "unknown_method", "This method is not served here.");
}

static enum http_status_kind read_version(struct span word, struct http_request *ret,
                                          struct http_refusal *why)
{
    if (word.len != 8 || memcmp(word.at, "HTTP/", 5) != 0 || word.at[6] != '.' ||
        word.at[5] < '0' || word.at[5] > '9' || word.at[7] < '0' || word.at[7] > '9')
        return refuse(why, 400, "bad_version", "The HTTP version is malformed.");
    if (word.at[5] != '1' || word.at[7] > '1')
        return refuse(why, 505, "unknown_version", "HTTP/1.1 and HTTP/1.0 are served.");
    ret->minor = word.at[7] - '0';
    return HTTP_DONE;
}

/* `line` without its CRLF. */
static enum http_status_kind read_request_line(struct span line, struct http_request *ret,
                                               struct http_refusal *why)
{
    const char *end = line.at + line.len;
    const char *sp1 = memchr(line.at, ' ', line.len);
    const char *sp2 = sp1 ? memchr(sp1 + 1, ' ', (size_t)(end - sp1 - 1)) : NULL;
    enum http_status_kind kind;
    struct span method;

    if (!sp2)
        return refuse(why, 400, "bad_request_line", "The request line is malformed.");
    method = (struct span){line.at, (size_t)(sp1 - line.at)};
    if (!method_valid(method))
        return refuse(why, 400, "bad_method", "The method is malformed.");
    kind = read_version((struct span){sp2 + 1, (size_t)(end - sp2 - 1)}, ret, why);
    if (kind != HTTP_DONE)
        return kind;
    ret->target = (struct span){sp1 + 1, (size_t)(sp2 - sp1 - 1)};
    if (!url_split(ret->target, &ret->authority, &ret->path, &ret->query))
        return refuse(why, 400, "bad_target", "The request's target is malformed.");
    return read_method(method, ret, why); /* last: malformed beats unknown */
}

/* --- headers ---------------------------------------------------------------------- */

static enum http_status_kind read_header(struct span line, struct http_request *ret,
                                         struct http_refusal *why)
{
    const char *colon = memchr(line.at, ':', line.len);
    struct http_header *h = &ret->headers[ret->header_count];

    if (ret->header_count == HTTP_HEADERS_MAX)
        return refuse(why, 431, "too_many_headers", "There are too many headers.");
    if (!colon || colon == line.at) /* obs-fold comes here or to the next check too */
        return refuse(why, 400, "bad_header", "A header is malformed.");
    h->name = (struct span){line.at, (size_t)(colon - line.at)};
    for (size_t i = 0; i < h->name.len; i++)
        if (!is_token((unsigned char)h->name.at[i]))
            return refuse(why, 400, "bad_header", "A header is malformed.");
    h->value = (struct span){colon + 1, line.len - h->name.len - 1};
    while (h->value.len > 0 && (*h->value.at == ' ' || *h->value.at == '\t')) {
        h->value.at++;
        h->value.len--;
    }
    while (h->value.len > 0 && (h->value.at[h->value.len - 1] == ' ' ||
                                h->value.at[h->value.len - 1] == '\t'))
        h->value.len--;
    ret->header_count++;
    return HTTP_DONE;
}

/* Those that decide something here: two of them, and two readers could choose two. */
static bool must_not_repeat(struct span name)
{
    static const char *const names[] = {
        "host",          "content-length", "authorization",   "origin", "content-type",
        "last-event-id", "cookie",         "idempotency-key", "expect", "sec-fetch-site",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

static bool has_repeats(const struct http_request *r)
{
    for (size_t i = 1; i < r->header_count; i++) {
        struct span name = r->headers[i].name;
        for (size_t j = 0; j < i; j++) {
            struct span other = r->headers[j].name;
            if (other.len == name.len && strncasecmp(other.at, name.at, name.len) == 0 &&
                must_not_repeat(name))
                return true;
        }
    }
    return false;
}

/* --- what the headers mean ---------------------------------------------------------- */

static enum http_status_kind read_host(const struct http_request *r,
                                       struct http_refusal *why)
{
    struct span host = http_header(r, "host");

    if (!host.at && r->minor == 1)
        return refuse(why, 400, "bad_host", "The Host header is missing.");
    if (host.at && !url_host_valid(host))
        return refuse(why, 400, "bad_host", "The Host header is malformed.");
    if (r->authority.at && (!host.at || host.len != r->authority.len ||
                            strncasecmp(host.at, r->authority.at, host.len) != 0))
        return refuse(why, 400, "bad_host", "The target is not what Host names.");
    return HTTP_DONE;
}

/* 1*DIGIT without leading zeros, which some readers take for octal. */
static bool read_length(struct span s, uint64_t *ret)
{
    uint64_t n = 0;

    if (s.len == 0 || s.len > 19 || (s.len > 1 && *s.at == '0'))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(s.at[i] - '0');
    }
    *ret = n;
    return true;
}

static enum http_status_kind read_framing(struct http_request *r,
                                          struct http_refusal *why)
{
    struct span length = http_header(r, "content-length");
    bool bodyless = r->method != HTTP_POST && r->method != HTTP_DELETE;

    if (http_header(r, "transfer-encoding").at) /* with or without a length */
        return refuse(why, 501, "transfer_encoding",
                      "Send the body with a Content-Length.");
    if (!length.at)
        return HTTP_DONE;
    if (!read_length(length, &r->content_length))
        return refuse(why, 400, "bad_content_length", "Content-Length is malformed.");
    r->has_content_length = true;
    if (bodyless && r->content_length > 0)
        return refuse(why, 400, "unexpected_body", "This method takes no body.");
    if (r->content_length > HTTP_BODY_MAX)
        return refuse(why, 413, "body_too_large", "A body has at most 64 KiB.");
    return HTTP_DONE;
}

/* Is `word` in a comma-separated list? */
static bool list_has(struct span list, const char *word)
{
    const char *at = list.at, *end = list.at + list.len;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        struct span item = {at, (size_t)(stop - at)};
        while (item.len > 0 && (*item.at == ' ' || *item.at == '\t')) {
            item.at++;
            item.len--;
        }
        while (item.len > 0 &&
               (item.at[item.len - 1] == ' ' || item.at[item.len - 1] == '\t'))
            item.len--;
        if (span_is(item, word))
            return true;
        at = stop + 1;
    }
    return false;
}

static void read_connection(struct http_request *r)
{
    bool close = false, keep = false;

    for (size_t i = 0; i < r->header_count; i++) {
        if (!span_is(r->headers[i].name, "connection"))
            continue;
        close = close || list_has(r->headers[i].value, "close");
        keep = keep || list_has(r->headers[i].value, "keep-alive");
    }
    r->keep_alive = !close && (r->minor == 1 || keep);
}

static enum http_status_kind read_expect(struct http_request *r, struct http_refusal *why)
{
    struct span expect = http_header(r, "expect");

    if (!expect.at || r->minor == 0)
        return HTTP_DONE;
    if (!span_is(expect, "100-continue"))
        return refuse(why, 417, "bad_expectation", "Only 100-continue may be expected.");
    r->expect_continue = true;
    return HTTP_DONE;
}

/* `head` ends with the blank line and holds no bare CR or LF. */
static enum http_status_kind read_head(struct span head, struct http_request *ret,
                                       struct http_refusal *why)
{
    const char *at = head.at, *end = head.at + head.len - 2;
    bool first = true;
    enum http_status_kind kind;

    ret->header_count = 0;
    ret->content_length = 0;
    ret->has_content_length = ret->expect_continue = false;
    while (at < end) {
        const char *cr = memchr(at, '\r', (size_t)(end - at));
        struct span line = {at, (size_t)(cr - at)};
        kind = first ? read_request_line(line, ret, why) : read_header(line, ret, why);
        if (kind != HTTP_DONE)
            return kind;
        first = false;
        at = cr + 2;
    }
    if (has_repeats(ret))
        return refuse(why, 400, "repeated_header", "A header is there twice.");
    read_connection(ret);
    kind = read_host(ret, why);
    if (kind == HTTP_DONE)
        kind = read_framing(ret, why);
    if (kind == HTTP_DONE)
        kind = read_expect(ret, why);
    return kind;
}

/* --- the scan ----------------------------------------------------------------------- */

/* Looks at the byte data[i]; all before it have been looked at. HTTP_DONE: the head
 * ends with it. */
static enum http_status_kind scan_byte(const char *data, size_t i,
                                       struct http_request *scratch,
                                       struct http_refusal *why)
{
    unsigned char c = (unsigned char)data[i];
    char before = i > 0 ? data[i - 1] : 0;

    if (i == 0 && (c < 'A' || c > 'Z'))
        return refuse(why, 400, "bad_method", "This is not an HTTP request.");
    if (i >= HTTP_HEAD_MAX)
        return refuse(why, 431, "head_too_large", "The head has at most 8 KiB.");
    if ((before == '\r') != (c == '\n'))
        return refuse(why, 400, "bad_line_end", "Lines end with CR LF.");
    if ((c < ' ' && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
        return refuse(why, 400, "bad_character", "A control character is in the head.");
    if (i == HTTP_LINE_MAX && c != '\r' && c != '\n' && !memchr(data, '\n', i))
        return refuse(why, 414, "line_too_long", "The request line has at most 4 KiB.");
    if (c != '\n')
        return HTTP_MORE;
    if (!memchr(data, '\n', i)) /* refuse a bad request line as soon as it is there */
        return read_request_line((struct span){data, i - 1}, scratch, why) == HTTP_REFUSED
                   ? HTTP_REFUSED
                   : HTTP_MORE;
    return i >= 3 && data[i - 2] == '\n' ? HTTP_DONE : HTTP_MORE;
}

enum http_status_kind http_read(const char *data, size_t len, size_t *scan,
                                struct http_request *ret, size_t *ret_len,
                                struct http_refusal *ret_refusal)
{
    for (; *scan < len; ++*scan) {
        switch (scan_byte(data, *scan, ret, ret_refusal)) {
        case HTTP_MORE:
            break;
        case HTTP_REFUSED:
            return HTTP_REFUSED;
        case HTTP_DONE:
            *ret_len = ++*scan;
            return read_head((struct span){data, *ret_len}, ret, ret_refusal);
        }
    }
    return HTTP_MORE;
}

/* --- questions ---------------------------------------------------------------------- */

struct span http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (span_is(r->headers[i].name, name))
            return r->headers[i].value;
    return (struct span){NULL, 0};
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {201, "Created"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Unknown";
}
