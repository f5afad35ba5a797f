/* fuzz_http: a head read whole and read in pieces is the same head or the same refusal;
 * what was read is walked as the routes walk it, and written anew from its parts it is
 * the same request. How it is cut the input's own bytes say. */
#include "fuzz.h"

#include "bridge/http.h"

#include <assert.h>
#include <strings.h>

static enum http_status_kind read_pieces(const char *data, size_t len,
                                         struct http_request *r, size_t *ret_len,
                                         struct http_refusal *why)
{
    size_t scan = 0, have = 0;
    enum http_status_kind kind = HTTP_MORE;

    for (size_t i = 0; kind == HTTP_MORE && have < len; i++) {
        size_t piece = fuzz_cut(data, len, i);
        char *copy;
        have = len - have > piece ? have + piece : len;
        copy = malloc(have);
        memcpy(copy, data, have);
        kind = http_read(copy, have, &scan, r, ret_len, why);
        free(copy);
    }
    return kind;
}

static void walk(const struct http_request *r)
{
    struct span name, value;
    char out[64];
    size_t pos = 0, len;

    assert(r->path.len > 0 && r->path.at[0] == '/');
    assert(!memchr(r->path.at, '?', r->path.len));
    assert(r->minor == 0 || r->minor == 1);
    assert(r->content_length <= HTTP_BODY_MAX);
    assert(r->content_length == 0 || r->method == HTTP_POST || r->method == HTTP_DELETE);
    assert(!http_header(r, "Transfer-Encoding").at);
    while (http_query_next(r->query, &pos, &name, &value)) {
        assert(pos <= r->query.len);
        if (http_decode(value, true, out, sizeof out, &len))
            assert(strlen(out) == len);
    }
    http_query_get(r->query, "since", out, sizeof out);
    if (http_decode(r->path, false, out, sizeof out, &len))
        assert(strlen(out) == len);
    for (size_t i = 0; i < r->header_count; i++) {
        const struct http_header *h = &r->headers[i];
        assert(h->name.len > 0 && !memchr(h->value.at, '\n', h->value.len));
    }
}

static void check_headers(const struct http_request *r, const char *end)
{
    size_t hosts = 0, lengths = 0;

    for (size_t i = 0; i < r->header_count; i++) {
        const struct http_header *h = &r->headers[i];
        assert(h->value.at + h->value.len <= end);
        for (size_t k = 0; k < h->name.len; k++)
            assert(h->name.at[k] > ' ' && h->name.at[k] < 0x7f &&
                   !strchr("()<>@,;:\\\"/[]?={}", h->name.at[k]));
        for (size_t k = 0; k < h->value.len; k++)
            assert((unsigned char)h->value.at[k] >= ' ' || h->value.at[k] == '\t');
        hosts += h->name.len == 4 && strncasecmp(h->name.at, "host", 4) == 0;
        if (h->name.len == 14 && strncasecmp(h->name.at, "content-length", 14) == 0) {
            char text[24];
            int n = snprintf(text, sizeof(text), "%llu",
                             (unsigned long long)r->content_length);
            assert((size_t)n == h->value.len && !memcmp(text, h->value.at, h->value.len));
            lengths++;
        }
    }
    assert(hosts == 1 || (hosts == 0 && r->minor == 0));
    assert(lengths == r->has_content_length);
}

/* Its parts, put together in the plainest way, are the same request. */
static void check_rewritten(const struct http_request *r)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"};
    static struct http_request again;
    struct http_refusal why;
    struct buf b;
    size_t scan = 0, len;

    buf_init(&b);
    buf_printf(&b, "%s ", methods[r->method]);
    buf_add(&b, r->target.at, r->target.len);
    buf_printf(&b, " HTTP/1.%d\r\n", r->minor);
    for (size_t i = 0; i < r->header_count; i++) {
        buf_add(&b, r->headers[i].name.at, r->headers[i].name.len);
        buf_char(&b, ':');
        buf_add(&b, r->headers[i].value.at, r->headers[i].value.len);
        buf_str(&b, "\r\n");
    }
    buf_str(&b, "\r\n");
    assert(http_read(b.data, b.len, &scan, &again, &len, &why) == HTTP_DONE);
    assert(len == b.len && again.method == r->method && again.minor == r->minor);
    assert(again.path.len == r->path.len && again.query.len == r->query.len);
    assert(again.header_count == r->header_count);
    assert(again.content_length == r->content_length);
    assert(again.keep_alive == r->keep_alive);
    assert(again.expect_continue == r->expect_continue);
    buf_fini(&b);
}

/* Whatever comes behind a head is not looked at. */
static void check_alone(const char *text, size_t len)
{
    static struct http_request alone;
    struct http_refusal why;
    size_t scan = 0, alone_len = 0;
    char *copy = malloc(len);

    assert(copy);
    memcpy(copy, text, len);
    assert(http_read(copy, len, &scan, &alone, &alone_len, &why) == HTTP_DONE);
    assert(alone_len == len);
    scan = 0;
    assert(http_read(copy, len - 1, &scan, &alone, &alone_len, &why) == HTTP_MORE);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request whole, cut;
    struct http_refusal why = {0}, why_cut = {0};
    const char *text = (const char *)data;
    size_t len = 0, cut_len = 0, scan = 0;
    enum http_status_kind kind = http_read(text, size, &scan, &whole, &len, &why);

    assert(read_pieces(text, size, &cut, &cut_len, &why_cut) == kind);
    if (kind == HTTP_REFUSED) {
        assert(why.status >= 400 && why.status < 600 && why.code && why.message);
        assert(why.status == why_cut.status && why.code == why_cut.code);
    } else if (kind == HTTP_DONE) {
        assert(len == cut_len && len <= HTTP_HEAD_MAX && len <= size);
        assert(whole.header_count == cut.header_count && whole.method == cut.method);
        walk(&whole);
        check_headers(&whole, text + len);
        check_rewritten(&whole);
        check_alone(text, len);
    }
    return 0;
}
