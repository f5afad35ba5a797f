/* origin: which pages may do what, in every mode. */
#include "test_request.h"

#include <setjmp.h>

#include <cmocka.h>

static struct bridge_conf conf;
static struct bridge bridge;
static struct request r;

static int setup(void **state)
{
    (void)state;
    conf = (struct bridge_conf){.auth = AUTH_MODE_JWT};
    bridge = (struct bridge){.conf = &conf};
    strcpy(answer.peer, "127.0.0.1");
    return 0;
}

/* true: goes on to its route */
static bool admit(enum http_method method, const char *host, const char *origin,
                  const char *site)
{
    request_begin(&r, &bridge, method, "", "Host", host, "Origin", origin,
                  "Sec-Fetch-Site", site, NULL);
    bool ok = origin_admit(&r);
    assert_int_equal(answer.answers, ok ? 0 : 1);
    request_done(&r);
    return ok;
}

static bool post(const char *host, const char *origin)
{
    return admit(HTTP_POST, host, origin, NULL);
}

static void the_same_origin_may(void **state)
{
    (void)state;
    assert_true(post("localhost:8080", "http://localhost:8080"));
    assert_true(post("LocalHost:8080", "http://localhost:8080"));
    assert_true(post("example.com", "http://example.com"));
    assert_true(post("example.com:80", "http://example.com"));
    assert_true(post("[::1]:8080", "http://[::1]:8080"));
    assert_true(admit(HTTP_DELETE, "example.com", "http://example.com", NULL));
}

static void others_may_not(void **state)
{
    static const char *const rows[] = {
        "null",
        "",
        "*",
        "https://localhost:8080",
        "http://localhost",
        "http://localhost:8081",
        "http://127.0.0.1:8080",
        "http://evil.com",
        "http://localhost:8080.evil.com",
        "http://localhost:8080@evil.com",
        "http://localhost:8080/",
        "http://localhost:8080 http://evil.com",
        "file://",
        "localhost:8080",
        "http://evil.com http://localhost:8080",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_false(post("localhost:8080", rows[i]));
        assert_int_equal(answer.status, 403);
        assert_string_equal(answer.code, "origin_not_allowed");
        assert_false(admit(HTTP_DELETE, "localhost:8080", rows[i], NULL));
        /* reading is the business of CORS */
        assert_true(admit(HTTP_GET, "localhost:8080", rows[i], NULL));
        assert_true(admit(HTTP_HEAD, "localhost:8080", rows[i], NULL));
    }
    assert_int_equal(bridge.stats.origin_refused, 2 * sizeof(rows) / sizeof(rows[0]));
}

static void without_origin_the_browser_says(void **state)
{
    (void)state;
    assert_true(post("localhost", NULL)); /* curl */
    assert_false(admit(HTTP_POST, "localhost", NULL, "cross-site"));
    assert_string_equal(answer.code, "origin_not_allowed");
    assert_false(admit(HTTP_POST, "localhost", NULL, "Cross-Site"));
    assert_true(admit(HTTP_POST, "localhost", NULL, "same-origin"));
    assert_true(admit(HTTP_POST, "localhost", NULL, "none"));
    assert_true(admit(HTTP_GET, "localhost", NULL, "cross-site"));
}

static char allowed[] = "https://app.example.com, http://dev:3000";
static char public[] = "https://chat.example.com";

static void named_origins_may(void **state)
{
    (void)state;
    conf.allowed_origins = allowed;
    conf.public_origin = public;
    assert_true(post("internal:8080", "https://app.example.com"));
    assert_true(post("internal:8080", "https://app.example.com:443"));
    assert_true(post("internal:8080", "http://dev:3000"));
    assert_true(post("internal:8080", "https://chat.example.com"));
    assert_true(post("internal:8080", "http://internal:8080"));
    assert_true(admit(HTTP_POST, "internal", "https://app.example.com", "cross-site"));
    assert_false(post("internal:8080", "http://app.example.com"));
    assert_false(post("internal:8080", "https://app.example.com:444"));
    assert_false(post("internal:8080", "https://app.example.com.evil.org"));
    assert_false(post("internal:8080", "https://xapp.example.com"));
    assert_false(post("internal:8080", "http://dev"));
}

static char proxies[] = "10.0.0.0/8";

static bool post_via(const char *peer, const char *proto, const char *host,
                     const char *origin)
{
    strcpy(answer.peer, peer);
    request_begin(&r, &bridge, HTTP_POST, "", "Host", "bridge:8080", "X-Forwarded-Proto",
                  proto, "X-Forwarded-Host", host, "Origin", origin, NULL);
    bool ok = origin_admit(&r);
    request_done(&r);
    return ok;
}

static void trusted_proxies_say_what_we_are_called(void **state)
{
    (void)state;
    conf.trusted_proxies = proxies;
    assert_true(
        post_via("10.1.2.3", "https", "chat.example.com", "https://chat.example.com"));
    assert_true(post_via("10.1.2.3", "https, http", "chat.example.com, bridge",
                         "https://chat.example.com"));
    assert_true(post_via("10.1.2.3", "https", NULL, "https://bridge:8080"));
    assert_true(
        post_via("10.1.2.3", NULL, "chat.example.com", "http://chat.example.com"));
    assert_false(post_via("10.1.2.3", "https", "chat.example.com", "https://evil.com"));
    assert_false(
        post_via("11.1.2.3", "https", "chat.example.com", "https://chat.example.com"));
    conf.trusted_proxies = NULL;
    assert_false(
        post_via("10.1.2.3", "https", "chat.example.com", "https://chat.example.com"));
    strcpy(answer.peer, "127.0.0.1");
}

static void without_authentication_only_this_machine(void **state)
{
    static const char *const good[] = {"localhost",   "localhost:8080", "127.0.0.1",
                                       "127.0.0.1:1", "[::1]",          "[::1]:8080",
                                       "LOCALHOST"};
    static const char *const bad[] = {
        NULL,
        "",
        "evil.com",
        "evil.com:8080",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "localhost.",
        "localhost:",
        "localhost:x",
        "192.168.1.1",
        "local host",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "127.1",
    };
    (void)state;
    conf.auth = AUTH_MODE_NONE;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(admit(HTTP_GET, good[i], NULL, NULL));
        assert_true(admit(HTTP_POST, good[i], NULL, NULL));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (int method = HTTP_GET; method <= HTTP_OPTIONS; method++) {
            assert_false(admit((enum http_method)method, bad[i], NULL, NULL));
            assert_int_equal(answer.status, 403);
            assert_string_equal(answer.code, "host_not_allowed");
        }
    }
    /* and the origin rules hold as ever */
    assert_false(post("localhost:8080", "http://evil.com"));
    assert_false(post("localhost:8080", "null"));
    assert_true(post("localhost:8080", "http://localhost:8080"));
}

static void preflight(const char *origin, const char *method)
{
    request_begin(&r, &bridge, HTTP_OPTIONS, "", "Host", "bridge:8080", "Origin", origin,
                  "Access-Control-Request-Method", method, NULL);
    assert_false(origin_admit(&r));
    assert_int_equal(answer.status, 204);
}

static void preflights_are_answered(void **state)
{
    (void)state;
    conf.allowed_origins = allowed;
    preflight("https://app.example.com", "POST");
    assert_true(
        has_header(&r, "Access-Control-Allow-Origin: https://app.example.com\r\n"));
    assert_true(has_header(&r, "Access-Control-Allow-Credentials: true\r\n"));
    assert_true(has_header(&r, "Access-Control-Allow-Methods: GET, POST, DELETE\r\n"));
    assert_true(has_header(&r,
                           "Access-Control-Allow-Headers: Authorization, Content-Type, "
                           "Idempotency-Key, Last-Event-ID, X-Request-Id, "
                           "traceparent\r\n"));
    assert_true(has_header(&r, "Access-Control-Max-Age: "));
    assert_true(has_header(&r, "Vary: Origin\r\n"));
    request_done(&r);
    preflight("https://evil.com", "POST");
    assert_false(has_header(&r, "Access-Control"));
    assert_true(has_header(&r, "Vary: Origin\r\n"));
    request_done(&r);
    preflight(NULL, NULL);
    assert_true(has_header(&r, "Allow: GET, HEAD, POST, DELETE, OPTIONS\r\n"));
    request_done(&r);
}

static void cors(const char *origin)
{
    request_begin(&r, &bridge, HTTP_GET, "", "Host", "bridge:8080", "Origin", origin,
                  NULL);
    origin_cors(&r);
}

static void cors_echoes_the_exact_origin(void **state)
{
    (void)state;
    cors(NULL);
    assert_int_equal(r.extra.len, 0);
    request_done(&r);
    conf.allowed_origins = allowed;
    cors(NULL);
    assert_string_equal(r.extra.data, "Vary: Origin\r\n");
    request_done(&r);
    cors("https://app.example.com");
    origin_cors(&r); /* a second time adds nothing */
    assert_string_equal(r.extra.data,
                        "Vary: Origin\r\n"
                        "Access-Control-Allow-Origin: https://app.example.com\r\n"
                        "Access-Control-Allow-Credentials: true\r\n"
                        "Access-Control-Expose-Headers: X-Request-Id\r\n");
    request_done(&r);
    cors("null");
    assert_string_equal(r.extra.data, "Vary: Origin\r\n");
    request_done(&r);
    cors("https://evil.com");
    assert_string_equal(r.extra.data, "Vary: Origin\r\n");
    request_done(&r);
}

static bool secure(const char *host, const char *proto, const char *origin)
{
    request_begin(&r, &bridge, HTTP_POST, "", "Host", host, "X-Forwarded-Proto", proto,
                  "Origin", origin, NULL);
    bool is = origin_secure(&r);
    request_done(&r);
    return is;
}

static void cookies_are_secure_but_on_this_machine(void **state)
{
    char trusted[] = "127.0.0.1";
    (void)state;
    assert_false(secure("localhost:8080", NULL, NULL));
    assert_false(secure("127.0.0.1:8080", NULL, "http://127.0.0.1:8080"));
    assert_false(secure("localhost:8080", "https", NULL)); /* said by nobody we trust */
    assert_true(secure("example.com", NULL, NULL));
    assert_true(secure("192.168.1.5:8080", NULL, "http://192.168.1.5:8080"));
    assert_true(secure(NULL, NULL, NULL));
    /* another's page on this machine says nothing about us */
    assert_true(secure("example.com", NULL, "http://localhost:3000"));
    conf.trusted_proxies = trusted;
    assert_true(secure("localhost:8080", "https", NULL));
    assert_false(secure("localhost:8080", "http", NULL));
}

/* A proxy writes a Host of its own: what the operator says counts. */
static void the_public_origin_says_whether_cookies_are_secure(void **state)
{
    char intranet[] = "http://chat.intranet, https://chat.example.com";
    (void)state;
    conf.public_origin = public;
    assert_true(secure("127.0.0.1:8080", NULL, "https://chat.example.com"));
    assert_true(secure("127.0.0.1:8080", NULL, NULL));
    assert_true(secure("127.0.0.1:8080", NULL, "http://localhost:3000"));
    assert_false(secure("localhost:8080", NULL, "http://localhost:8080")); /* past it */
    conf.public_origin = intranet;
    assert_false(secure("127.0.0.1:8080", NULL, "http://chat.intranet"));
    assert_true(secure("127.0.0.1:8080", NULL, "https://chat.example.com"));
    assert_false(secure("127.0.0.1:8080", NULL, NULL));
    conf.trusted_proxies = proxies;
    strcpy(answer.peer, "10.0.0.1");
    assert_true(secure("127.0.0.1:8080", "https", NULL));
    strcpy(answer.peer, "127.0.0.1");
}

static bool known(const char *host)
{
    request_begin(&r, &bridge, HTTP_POST, "", "Host", host, NULL);
    bool is = origin_host_known(&r);
    request_done(&r);
    return is;
}

static void rebound_names_are_not_known(void **state)
{
    char trusted[] = "127.0.0.1";
    (void)state;
    assert_true(known("localhost:8080") && known("127.0.0.1:8080") &&
                known("[::1]:8080"));
    assert_true(known("192.168.1.5:8080") && known("bridge:8080"));
    assert_false(known("evil.com:8080") || known("localhost.evil.com") || known(NULL));
    assert_false(known("chat.example.com") || known("app.example.com"));
    conf.public_origin = public;
    conf.allowed_origins = allowed;
    assert_true(known("chat.example.com") && known("app.example.com"));
    assert_false(known("evil.com:8080"));
    conf.trusted_proxies = trusted;
    assert_true(known("evil.com")); /* the proxy's business */
}

static void lists_are_checked_at_start(void **state)
{
    static const char *const bad[] = {"*",          "null",        "example.com",
                                      "https://a/", "https://a b", "https://a,*",
                                      "https://*.a"};
    struct buf err;
    (void)state;
    buf_init(&err);
    assert_true(origin_list_valid(NULL, &err) && origin_list_valid("", &err));
    assert_true(origin_list_valid(allowed, &err));
    assert_int_equal(err.len, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(origin_list_valid(bad[i], &err));
    buf_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_origin_may, setup),
        cmocka_unit_test_setup(others_may_not, setup),
        cmocka_unit_test_setup(without_origin_the_browser_says, setup),
        cmocka_unit_test_setup(named_origins_may, setup),
        cmocka_unit_test_setup(trusted_proxies_say_what_we_are_called, setup),
        cmocka_unit_test_setup(without_authentication_only_this_machine, setup),
        cmocka_unit_test_setup(preflights_are_answered, setup),
        cmocka_unit_test_setup(cors_echoes_the_exact_origin, setup),
        cmocka_unit_test_setup(cookies_are_secure_but_on_this_machine, setup),
        cmocka_unit_test_setup(the_public_origin_says_whether_cookies_are_secure, setup),
        cmocka_unit_test_setup(rebound_names_are_not_known, setup),
        cmocka_unit_test_setup(lists_are_checked_at_start, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
