/* fuzz_http: a head read whole and read in pieces is the same head or the same refusal;
 * what was read is walked as the routes walk it. The last byte says how it is cut. */
#include "bridge/http.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_status_kind read_pieces(const char *data, size_t len, size_t step,
                                         struct http_request *r, size_t *ret_len,
                                         struct http_refusal *why)
{
    size_t scan = 0, have = 0;
    enum http_status_kind kind = HTTP_MORE;

    while (kind == HTTP_MORE && have < len) {
        char *copy;
        have = len - have > step ? have + step : len;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request whole, cut;
    struct http_refusal why = {0}, why_cut = {0};
    const char *text = (const char *)data;
    size_t len = 0, cut_len = 0, scan = 0;
    size_t step = size > 0 ? 1 + data[size - 1] : 1;
    enum http_status_kind kind = http_read(text, size, &scan, &whole, &len, &why);

    assert(read_pieces(text, size, step, &cut, &cut_len, &why_cut) == kind);
    if (kind == HTTP_REFUSED) {
        assert(why.status >= 400 && why.status < 600 && why.code && why.message);
        assert(why.status == why_cut.status && why.code == why_cut.code);
    } else if (kind == HTTP_DONE) {
        assert(len == cut_len && len <= HTTP_HEAD_MAX && len <= size);
        assert(whole.header_count == cut.header_count && whole.method == cut.method);
        walk(&whole);
    }
    return 0;
}
