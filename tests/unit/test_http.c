/* http: heads as strangers send them. Every input is read whole, byte by byte, and cut in
 * two at every place: the answer depends on the bytes alone. */
#include "bridge/http.h"

#include "unit.h"

struct reading {
    enum http_status_kind kind;
    int status;
    const char *code;
    size_t len;
    int pieces; /* how many it took to say so */
};

/* Reads as a connection does, with more of the same bytes each time. */
static struct reading read_cut(const char *data, size_t len, size_t first, size_t step,
                               struct http_request *r)
{
    struct reading ret = {.kind = HTTP_MORE};
    struct http_refusal why = {0};
    size_t scan = 0;

    for (size_t have = first; ret.kind == HTTP_MORE; have += step) {
        /* exact copies, so that a sanitizer sees one byte too many */
        size_t n = have < len ? have : len;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, data, n);
        ret.kind = http_read(copy, n, &scan, r, &ret.len, &why);
        ret.pieces++;
        free(copy);
        if (n == len)
            break;
    }
    ret.status = ret.kind == HTTP_REFUSED ? why.status : 0;
    ret.code = why.code;
    return ret;
}

/* All ways of cutting agree; the result is the whole's. */
static struct reading read_all_ways(const char *data, size_t len)
{
    static struct http_request r;
    struct reading whole = read_cut(data, len, len, 1, &r);

    for (size_t cut = 0; cut <= len; cut++) {
        struct reading two = read_cut(data, len, cut, len, &r);
        assert_int_equal(two.kind, whole.kind);
        assert_int_equal(two.status, whole.status);
    }
    struct reading dribbled = read_cut(data, len, 1, 1, &r);
    assert_int_equal(dribbled.kind, whole.kind);
    assert_int_equal(dribbled.status, whole.status);
    if (whole.kind == HTTP_DONE)
        assert_int_equal(dribbled.len, whole.len);
    return whole;
}

static void refused(const char *data, size_t len, int status, const char *code)
{
    struct reading got = read_all_ways(data, len);

    if (got.kind != HTTP_REFUSED || got.status != status || strcmp(got.code, code) != 0)
        fail_msg("%.60s: kind %d, status %d, code %s; not %d %s", data, got.kind,
                 got.status, got.code ? got.code : "none", status, code);
}

#define H "Host: localhost\r\n"
#define GET "GET / HTTP/1.1\r\n" H
#define POST "POST / HTTP/1.1\r\n" H

static const struct {
    const char *text;
    int status;
    const char *code;
} bad[] = {
    /* request line */
    {"get / HTTP/1.1\r\n", 400, "bad_method"},
    {" GET / HTTP/1.1\r\n", 400, "bad_method"},
    {"\r\nGET / HTTP/1.1\r\n", 400, "bad_method"},
    {"GeT / HTTP/1.1\r\n", 400, "bad_method"},
    {"ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n", 400, "bad_method"},
    {"GET\t/ HTTP/1.1\r\n", 400, "bad_request_line"},
    {"GET /\r\n", 400, "bad_request_line"},
    {"GET\r\n", 400, "bad_request_line"},
    {"GET  / HTTP/1.1\r\n", 400, "bad_version"},
    {"GET /  HTTP/1.1\r\n", 400, "bad_version"},
    {"GET / HTTP/1.1 \r\n", 400, "bad_version"},
    {"GET / HTTP/1.-1\r\n", 400, "bad_version"},
    {"GET / HTTP/1.11\r\n", 400, "bad_version"},
    {"GET / http/1.1\r\n", 400, "bad_version"},
    {"GET / HTTP/1\r\n", 400, "bad_version"},
    {"GET / HTTP/2.0\r\n", 505, "unknown_version"},
    {"GET / HTTP/1.2\r\n", 505, "unknown_version"},
    {"GET / HTTP/0.9\r\n", 505, "unknown_version"},
    {"PRI * HTTP/2.0\r\n", 505, "unknown_version"},
    {"PUT / HTTP/1.1\r\n", 501, "unknown_method"},
    {"TRACE / HTTP/1.1\r\n", 501, "unknown_method"},
    {"CONNECT example.org:443 HTTP/1.1\r\n", 400, "bad_target"},
    /* target */
    {"OPTIONS * HTTP/1.1\r\n", 400, "bad_target"},
    {"GET nothing HTTP/1.1\r\n", 400, "bad_target"},
    {"GET // HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /a//b HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /../ HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /a/.. HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /./a HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /%2e%2E/a HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /.%2e HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /a%00b HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /a%2fb HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /a%5Cb HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /%zz HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /% HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /%4 HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /?a=%00 HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /?a=%g1 HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /#a HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /a\\b HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /\"a HTTP/1.1\r\n", 400, "bad_target"},
    {"GET /\xc3\xa4 HTTP/1.1\r\n", 400, "bad_target"},
    {"GET http:/a HTTP/1.1\r\n", 400, "bad_target"},
    {"GET http://localhost HTTP/1.1\r\n", 400, "bad_target"},
    {"GET http://u@localhost/ HTTP/1.1\r\n", 400, "bad_target"},
    {"GET ftp://localhost/ HTTP/1.1\r\n", 400, "bad_target"},
    {"GET http://other/ HTTP/1.1\r\n" H "\r\n", 400, "bad_host"},
    {"GET http://localhost/ HTTP/1.0\r\n\r\n", 400, "bad_host"},
    /* bytes */
    {"GET / HTTP/1.1\n", 400, "bad_line_end"},
    {GET "\n", 400, "bad_line_end"},
    {GET "X: a\rb", 400, "bad_line_end"},
    {GET "X: a\r\r\n", 400, "bad_line_end"},
    {GET "X: a\x01", 400, "bad_character"},
    {GET "X: a\x7f", 400, "bad_character"},
    {GET "X: a\x1b[0m", 400, "bad_character"},
    /* headers */
    {GET "X : a\r\n\r\n", 400, "bad_header"},
    {GET "X\r\n\r\n", 400, "bad_header"},
    {GET ": a\r\n\r\n", 400, "bad_header"},
    {GET " X: a\r\n\r\n", 400, "bad_header"},
    {GET "X: a\r\n b\r\n\r\n", 400, "bad_header"},
    {GET "X: a\r\n\tb: c\r\n\r\n", 400, "bad_header"},
    {GET "X(: a\r\n\r\n", 400, "bad_header"},
    {GET "X\xc3\xa4: a\r\n\r\n", 400, "bad_header"},
    {GET "Host: localhost\r\n\r\n", 400, "repeated_header"},
    {GET "hOsT: other\r\n\r\n", 400, "repeated_header"},
    {GET "Cookie: a=b\r\nCookie: a=c\r\n\r\n", 400, "repeated_header"},
    {GET "Authorization: a\r\nauthorization: a\r\n\r\n", 400, "repeated_header"},
    {GET "Origin: a\r\nX: b\r\nOrigin: b\r\n\r\n", 400, "repeated_header"},
    {GET "Last-Event-ID: 1-1\r\nLast-Event-ID: 1-2\r\n\r\n", 400, "repeated_header"},
    {"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400, "bad_host"},
    {"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400, "bad_host"},
    /* framing */
    {POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 501,
     "transfer_encoding"},
    {POST "Transfer-Encoding: chunked\r\n\r\n", 501, "transfer_encoding"},
    {POST "Transfer-Encoding: identity\r\n\r\n", 501, "transfer_encoding"},
    {POST "Transfer-Encoding:\r\n\r\n", 501, "transfer_encoding"},
    {GET "Transfer-Encoding: chunked\r\n\r\n", 501, "transfer_encoding"},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "transfer_encoding"},
    {POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "repeated_header"},
    {POST "Content-Length: 5, 5\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: +5\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: -0\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: -1\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 0x5\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 05\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 5 5\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 5a\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 1e3\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length:\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 12345678901234567890\r\n\r\n", 400, "bad_content_length"},
    {POST "Content-Length: 9223372036854775807\r\n\r\n", 413, "body_too_large"},
    {POST "Content-Length: 65537\r\n\r\n", 413, "body_too_large"},
    {GET "Content-Length: 5\r\n\r\n", 400, "unexpected_body"},
    {"HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", 400, "unexpected_body"},
    {"OPTIONS / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", 400, "unexpected_body"},
    {POST "Expect: something\r\n\r\n", 417, "bad_expectation"},
};

static void test_bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        refused(bad[i].text, strlen(bad[i].text), bad[i].status, bad[i].code);
}

static void test_nul_and_strangers(void **state)
{
    static const char nul[] = GET "X: a\0b\r\n\r\n";
    static const char tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

    (void)state;
    refused(nul, sizeof nul - 1, 400, "bad_character");
    refused(tls, sizeof tls - 1, 400, "bad_method");
}

/* `n` bytes of filler between two texts */
static char *filled(const char *before, size_t n, const char *behind)
{
    size_t len = strlen(before);
    char *text = malloc(len + n + strlen(behind) + 1);

    assert_non_null(text);
    memcpy(text, before, len);
    memset(text + len, 'a', n);
    strcpy(text + len + n, behind);
    return text;
}

static void length_is(char *text, enum http_status_kind kind, int status)
{
    assert_non_null(text);
    struct reading got = read_all_ways(text, strlen(text));

    assert_int_equal(got.kind, kind);
    assert_int_equal(got.status, status);
    free(text);
}

static void test_lengths(void **state)
{
    (void)state;
    /* "GET /" and " HTTP/1.1" are 14 bytes of the line */
    length_is(filled("GET /", 4096 - 14, " HTTP/1.1\r\n" H "\r\n"), HTTP_DONE, 0);
    length_is(filled("GET /", 4096 - 13, " HTTP/1.1\r\n" H "\r\n"), HTTP_REFUSED, 414);
    length_is(filled("GET /", 9000, ""), HTTP_REFUSED, 414);
    size_t fixed = strlen(GET "X: \r\n\r\n");
    length_is(filled(GET "X: ", 8192 - fixed, "\r\n\r\n"), HTTP_DONE, 0);
    length_is(filled(GET "X: ", 8193 - fixed, "\r\n\r\n"), HTTP_REFUSED, 431);
}

static void test_count_of_headers(void **state)
{
    char text[2048] = GET;

    (void)state;
    for (int i = 1; i < 100; i++)
        strcat(text, "a:b\r\n");
    size_t len = strlen(text);
    strcat(text, "\r\n");
    length_is(strdup(text), HTTP_DONE, 0);
    strcpy(text + len, "a:b\r\n\r\n");
    length_is(strdup(text), HTTP_REFUSED, 431);
}

/* Refused with the first byte that makes it bad, not with the blank line. */
static void test_refused_early(void **state)
{
    static struct http_request r;
    static const struct {
        const char *text;
        int pieces;
    } rows[] = {
        {"\x16\x03\x01", 1},
        {"get / HTTP/1.1\r\n", 1},
        {"GET / HTTP/3.0\r\nHost: x\r\n", 16},
        {GET "X: \x01 and more", 37},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct reading got = read_cut(rows[i].text, strlen(rows[i].text), 1, 1, &r);
        assert_int_equal(got.kind, HTTP_REFUSED);
        assert_int_equal(got.pieces, rows[i].pieces);
    }
}

/* --- good ones ---------------------------------------------------------------------- */

static struct http_request read_good(const char *text)
{
    struct http_request r;
    struct http_refusal why = {0};
    size_t scan = 0, len = 0;
    enum http_status_kind kind = http_read(text, strlen(text), &scan, &r, &len, &why);

    if (kind != HTTP_DONE)
        fail_msg("%s: %d %s", text, why.status, why.code ? why.code : "more");
    assert_int_equal(read_all_ways(text, strlen(text)).kind, HTTP_DONE);
    return r;
}

static void span_equal(struct span s, const char *text)
{
    assert_non_null(s.at);
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.at, text, s.len);
}

static void test_parts(void **state)
{
    struct http_request r =
        read_good("POST /v1/threads/a%20b/events?since=0&x=%3d HTTP/1.1\r\n"
                  "host: LocalHost:8080\r\n"
                  "X-Empty:\r\n"
                  "X-Padded: \t a b \t\r\n"
                  "X-Latin: \xe4\r\n"
                  "Content-Length: 65536\r\n\r\n");

    (void)state;
    assert_int_equal(r.method, HTTP_POST);
    assert_int_equal(r.minor, 1);
    span_equal(r.path, "/v1/threads/a%20b/events");
    span_equal(r.query, "since=0&x=%3d");
    assert_null(r.authority.at);
    span_equal(http_header(&r, "HOST"), "LocalHost:8080");
    span_equal(http_header(&r, "x-empty"), "");
    span_equal(http_header(&r, "X-padded"), "a b");
    assert_null(http_header(&r, "x-pad").at);
    assert_int_equal(r.content_length, 65536);
    assert_true(r.has_content_length);
    assert_int_equal(r.header_count, 5);
}

static void test_forms(void **state)
{
    struct http_request r = read_good("GET http://LOCALHOST/a?b HTTP/1.1\r\n" H "\r\n");

    (void)state;
    span_equal(r.authority, "LOCALHOST");
    span_equal(r.path, "/a");
    span_equal(r.query, "b");
    r = read_good("GET /? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
    assert_int_equal(r.query.len, 0);
    r = read_good("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(r.minor, 0);
    r = read_good("DELETE /v1/session HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n");
    assert_int_equal(r.method, HTTP_DELETE);
    r = read_good("GET / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n");
    assert_int_equal(r.content_length, 0);
    r = read_good("GET /... HTTP/1.1\r\n" H "\r\n");
    span_equal(r.path, "/...");
}

static void test_keep_alive(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } rows[] = {
        {GET "\r\n", true},
        {GET "Connection: close\r\n\r\n", false},
        {GET "Connection: Upgrade, CLOSE\r\n\r\n", false},
        {GET "Connection: keep-alive\r\nConnection: close\r\n\r\n", false},
        {GET "Connection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(read_good(rows[i].text).keep_alive, rows[i].keep);
}

static void test_expect(void **state)
{
    (void)state;
    assert_true(read_good(POST "Expect: 100-Continue\r\n\r\n").expect_continue);
    assert_false(read_good(POST "\r\n").expect_continue);
    assert_false(read_good("POST / HTTP/1.0\r\nExpect: odd\r\n\r\n").expect_continue);
}

/* What stands behind a head is not looked at. */
static void test_pipeline(void **state)
{
    static const char text[] = GET "\r\n\x16garbage";
    struct http_request r;
    struct http_refusal why;
    size_t scan = 0, len = 0;

    (void)state;
    assert_int_equal(http_read(text, sizeof text - 1, &scan, &r, &len, &why), HTTP_DONE);
    assert_int_equal(len, strlen(GET "\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_heads),     cmocka_unit_test(test_nul_and_strangers),
        cmocka_unit_test(test_lengths),       cmocka_unit_test(test_count_of_headers),
        cmocka_unit_test(test_refused_early), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_forms),         cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_expect),        cmocka_unit_test(test_pipeline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
