/* route_session: cookies for tokens, tickets for threads, sessions for guests. */
#include "bridge/cookie.h"
#include "bridge/identity.h"
#include "bridge/rate.h"
#include "bridge/routes.h"
#include "common/clock.h"
#include "common/log.h"
#include "test_pg.h"
#include "test_request.h"
#include "test_tokens.h"

#include <setjmp.h>

#include <cmocka.h>

static struct bridge_conf conf;
static struct bridge bridge;
static struct request r;
static struct key *key;
static char secret[] = TEST_SECRET;

static int setup(void **state)
{
    struct buf err;
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    conf = (struct bridge_conf){.jwt_secret = secret, .ticket_max_s = 3600,
                                .guest_ttl_s = 1000, .demo_sessions_per_min = 3,
                                .max_threads_per_stream = 32, .demo = true,
                                .upstream_timeout_ms = 60000};
    buf_init(&err);
    bridge = (struct bridge){.conf = &conf, .pg = (struct pg_pool *)(uintptr_t)16,
                             .auth = auth_new(&conf, &err)};
    key = key_from_secret(secret, strlen(secret), &err);
    asked_count = 0;
    pg_full = false;
    strcpy(answer.peer, "127.0.0.1");
    buf_fini(&err);
    return bridge.auth && key ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    auth_free(bridge.auth);
    rate_free(bridge.guests);
    key_free(key);
    return bridge.questions ? -1 : 0;
}

/* "Bearer " and a token with these claims, besides sub and exp; in static memory. */
static const char *bearer(const char *sub, int64_t from_now_s, const char *more)
{
    static char texts[4][4300];
    static unsigned next;
    char *text = texts[next++ % 4];
    struct buf claims, b;
    buf_init(&claims);
    buf_init(&b);
    buf_printf(&claims, "{\"sub\":\"%s\",\"exp\":%lld%s}", sub,
               (long long)(clock_wall_ms() / 1000 + from_now_s), more);
    token_text(&b, key, HS256_HEADER, claims.data);
    snprintf(text, sizeof(texts[0]), "Bearer %s", b.data);
    buf_fini(&claims);
    buf_fini(&b);
    return text;
}

static void call(route_fn *route, enum http_method method, const char *authorization,
                 const char *cookie, const char *body)
{
    request_begin(&r, &bridge, method, "", "Host", "localhost:8080", "Authorization",
                  authorization, "Cookie", cookie, NULL);
    r.body = body;
    r.body_len = strlen(body);
    route(&r);
}

static json_t *answered(int status)
{
    if (answer.status != status)
        fail_msg("%d %s %s", answer.status, answer.code, answer.body);
    assert_int_equal(answer.answers, 1);
    json_t *value = json_loads(answer.body, 0, NULL);
    assert_non_null(value);
    return value;
}

static void assert_answer(int status, const char *code)
{
    if (answer.status != status || strcmp(answer.code, code) != 0)
        fail_msg("%d %s instead of %d %s", answer.status, answer.code, status, code);
    assert_int_equal(answer.answers, 1);
}

/* What the answer's Set-Cookie holds, as a Cookie header; in static memory. */
static const char *set_cookie(void)
{
    static char cookie[4300];
    const char *at = strstr(r.extra.data ? r.extra.data : "", "Set-Cookie: ");
    if (!at)
        return NULL;
    at += strlen("Set-Cookie: ");
    snprintf(cookie, sizeof(cookie), "%.*s", (int)strcspn(at, ";\r"), at);
    return cookie;
}

/* --- the session ---------------------------------------------------------------------- */

static void a_bearer_becomes_a_cookie(void **state)
{
    const char *token = bearer("ann", 600, "");
    char wanted[4400], cookie[4300];
    int64_t now = clock_wall_ms();
    (void)state;
    call(route_session_post, HTTP_POST, token, NULL, "");
    json_t *body = answered(200);
    assert_string_equal(json_string_value(json_object_get(body, "sub")), "ann");
    json_int_t end = json_integer_value(json_object_get(body, "expiresAt"));
    assert_in_range(end, now + 598000, now + 601000);
    json_decref(body);
    snprintf(wanted, sizeof(wanted), "Set-Cookie: threadcast_session=%s; Path=/; Max-Age=",
             token + strlen("Bearer "));
    assert_true(has_header(&r, wanted));
    assert_true(has_header(&r, "; HttpOnly; SameSite=Strict\r\n"));
    strcpy(cookie, set_cookie());
    request_done(&r);
    call(route_session_post, HTTP_POST, NULL, cookie, ""); /* a cookie begets none */
    assert_answer(401, "unauthorized");
    request_done(&r);
    request_begin(&r, &bridge, HTTP_POST, "", "Host", "chat.example.com", "Authorization",
                  token, NULL);
    route_session_post(&r);
    assert_true(has_header(&r, "; SameSite=Strict; Secure\r\n"));
    request_done(&r);
}

static void no_cookie_without_a_good_token(void **state)
{
    static const char *const rows[] = {"Bearer x", "Basic x", "Bearer a.b.c"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        call(route_session_post, HTTP_POST, rows[i], NULL, "");
        assert_answer(401, "token_invalid");
        assert_null(set_cookie());
        request_done(&r);
    }
    call(route_session_post, HTTP_POST, bearer("ann", -60, ""), NULL, "");
    assert_answer(401, "token_expired");
    request_done(&r);
}

static void long_tokens_fit_no_cookie(void **state)
{
    static char more[3000];
    (void)state;
    strcpy(more, ",\"x\":\"");
    for (size_t n = 2600; n < 2900; n += 7) {
        memset(more + 6, 'x', n);
        strcpy(more + 6 + n, "\"");
        const char *token = bearer("ann", 60, more);
        size_t len = strlen(token) - strlen("Bearer ");
        call(route_session_post, HTTP_POST, token, NULL, "");
        assert_int_equal(answer.status, len > COOKIE_TOKEN_MAX ? 400 : 200);
        assert_string_equal(answer.code, len > COOKIE_TOKEN_MAX ? "token_too_long" : "");
        request_done(&r);
    }
}

static void it_can_be_thrown_away(void **state)
{
    (void)state;
    call(route_session_delete, HTTP_DELETE, NULL, NULL, "");
    assert_int_equal(answer.status, 204);
    assert_true(has_header(&r, "Set-Cookie: threadcast_session=; Path=/; Max-Age=0; "));
    request_done(&r);
}

/* --- tickets -------------------------------------------------------------------------- */

#define READS_ALL ",\"threadcast\":{\"read\":[\"*\"]}"

/* Who the ticket in the answer makes of a request. Returns new. */
static struct identity *by_ticket(void)
{
    struct request s;
    struct identity *id = NULL;
    const char *why = "";
    char query[4200];
    json_t *body = answered(200);
    snprintf(query, sizeof(query), "ticket=%s",
             json_string_value(json_object_get(body, "ticket")));
    json_decref(body);
    int status = answer.status;
    request_begin(&s, &bridge, HTTP_GET, query, NULL);
    answer.status = status;
    assert_int_equal(auth_identify(bridge.auth, &s, &id, &why), AUTH_OK);
    request_done(&s);
    return id;
}

static void a_ticket_for_granted_threads(void **state)
{
    int64_t now = clock_wall_ms();
    (void)state;
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, READS_ALL), NULL,
         "{\"threads\":[\"t1\",\"t2\"]}");
    assert_int_equal(asked_count, 0);
    struct identity *id = by_ticket();
    assert_true(id->ticket && identity_reads(id, "t1") && identity_reads(id, "t2"));
    assert_false(identity_reads(id, "t3") || identity_may_own(id, "t1"));
    assert_in_range(id->expires_ms, now + 58000, now + 61000); /* the token's end */
    identity_unref(id);
    assert_int_equal(r.refs, 1);
    request_done(&r);
    call(route_tickets_post, HTTP_POST, bearer("ann", 7200, READS_ALL), NULL,
         "{\"threads\":[\"t1\"]}");
    id = by_ticket();
    assert_in_range(id->expires_ms, now + 3600000, now + 3602000); /* at most an hour */
    identity_unref(id);
    request_done(&r);
}

static void a_ticket_for_owned_threads(void **state)
{
    (void)state;
    call(route_tickets_post, HTTP_POST,
         bearer("ann", 60, ",\"threadcast\":{\"read\":[\"t1\"]}"), NULL,
         "{\"threads\":[\"a\",\"t1\",\"b\"]}");
    assert_int_equal(answer.answers, 0);
    assert_int_equal(asked_count, 2);
    pg_answer(1, 1, "t");
    assert_int_equal(answer.answers, 0);
    assert_int_equal(r.refs, 2);
    pg_answer(0, 1, "t");
    assert_int_equal(r.refs, 1);
    struct identity *id = by_ticket();
    assert_true(identity_reads(id, "t1"));
    assert_false(identity_reads(id, "a") || identity_reads(id, "b"));
    assert_true(identity_may_own(id, "a") && identity_may_own(id, "b"));
    identity_unref(id);
    request_done(&r);
}

static void no_ticket_when_one_is_refused(void **state)
{
    const char *body = "{\"threads\":[\"a\",\"b\",\"c\"]}";
    (void)state;
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, ""), NULL, body);
    pg_answer(0, 1, "t");
    pg_answer(1, 0, NULL);
    pg_fail(2, PG_LOST);
    assert_answer(403, "forbidden");
    request_done(&r);
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, ""), NULL, body);
    pg_answer(3, 1, "t");
    pg_answer(4, 1, "t");
    pg_fail(5, PG_LOST);
    assert_answer(503, "busy");
    request_done(&r);
    bridge.pg = NULL; /* Redis alone */
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, ""), NULL, body);
    assert_answer(403, "forbidden");
    request_done(&r);
}

static void tickets_want_a_list_of_ids(void **state)
{
    static const struct {
        const char *body, *code;
    } rows[] = {
        {"{}", "bad_threads"},
        {"{\"threads\":[]}", "bad_threads"},
        {"{\"threads\":\"t1\"}", "bad_threads"},
        {"{\"threads\":{}}", "bad_threads"},
        {"{\"threads\":[1]}", "bad_thread_id"},
        {"{\"threads\":[\"*\"]}", "bad_thread_id"},
        {"{\"threads\":[\"t*\"]}", "bad_thread_id"},
        {"{\"threads\":[\"t1\",\"\"]}", "bad_thread_id"},
        {"{\"threads\":[\"../t1\"]}", "bad_thread_id"},
        {"[]", "bad_json"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        call(route_tickets_post, HTTP_POST, bearer("ann", 60, READS_ALL), NULL, rows[i].body);
        assert_answer(400, rows[i].code);
        request_done(&r);
    }
    char many[512] = "{\"threads\":[\"t\"";
    for (int i = 0; i < 32; i++)
        strcat(many, ",\"t\"");
    strcat(many, "]}");
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, READS_ALL), NULL, many);
    assert_answer(400, "bad_threads");
    request_done(&r);
    call(route_tickets_post, HTTP_POST, NULL, NULL, "{\"threads\":[\"t1\"]}");
    assert_answer(401, "unauthorized");
    request_done(&r);
}

static void too_long_a_ticket(void **state)
{
    char body[5000] = "{\"threads\":[", id[140];
    (void)state;
    for (int i = 0; i < 32; i++) {
        memset(id, 'a', 128);
        snprintf(id + 120, 20, "%08d", i);
        snprintf(body + strlen(body), 160, "%s\"%s\"", i ? "," : "", id);
    }
    strcat(body, "]}");
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, READS_ALL), NULL, body);
    assert_answer(400, "ticket_too_long");
    request_done(&r);
}

static void a_ticket_makes_no_ticket(void **state)
{
    char query[4200];
    (void)state;
    call(route_tickets_post, HTTP_POST, bearer("ann", 60, READS_ALL), NULL,
         "{\"threads\":[\"t1\"]}");
    json_t *body = answered(200);
    snprintf(query, sizeof(query), "ticket=%s",
             json_string_value(json_object_get(body, "ticket")));
    json_decref(body);
    request_done(&r);
    request_begin(&r, &bridge, HTTP_POST, query, NULL);
    r.body = "{\"threads\":[\"t1\"]}";
    route_tickets_post(&r);
    assert_answer(401, "token_invalid");
    request_done(&r);
}

/* --- guests --------------------------------------------------------------------------- */

/* POST /v1/demo/session; the subject it answers with, in static memory. */
static const char *visit(const char *authorization, const char *cookie)
{
    static char subs[4][300];
    static unsigned next;
    char *sub = subs[next++ % 4];
    call(route_demo_session, HTTP_POST, authorization, cookie, "{}");
    json_t *body = answered(200);
    snprintf(sub, sizeof(subs[0]), "%s", json_string_value(json_object_get(body, "sub")));
    json_decref(body);
    return sub;
}

static void a_visitor_becomes_a_guest_and_stays_it(void **state)
{
    char cookie[4300];
    (void)state;
    const char *sub = visit(NULL, NULL);
    assert_int_equal(strncmp(sub, "guest:", 6), 0);
    assert_true(uuid_valid(sub + 6, strlen(sub + 6)));
    assert_non_null(set_cookie());
    assert_true(has_header(&r, "; Max-Age=1000; HttpOnly; SameSite=Strict\r\n"));
    strcpy(cookie, set_cookie());
    request_done(&r);
    assert_string_equal(visit(NULL, cookie), sub);
    assert_null(set_cookie()); /* fresh enough */
    request_done(&r);
    assert_string_not_equal(visit(NULL, NULL), sub);
    request_done(&r);
}

static void in_the_second_half_the_cookie_is_renewed(void **state)
{
    struct buf token;
    char cookie[4300];
    int64_t now = clock_wall_ms();
    (void)state;
    buf_init(&token);
    assert_true(auth_guest(bridge.auth, "guest:x", now - 600000, now + 400000, &token));
    snprintf(cookie, sizeof(cookie), "threadcast_session=%s", token.data);
    assert_string_equal(visit(NULL, cookie), "guest:x");
    assert_non_null(set_cookie());
    assert_string_not_equal(set_cookie(), cookie);
    strcpy(cookie, set_cookie());
    request_done(&r);
    assert_string_equal(visit(NULL, cookie), "guest:x");
    assert_null(set_cookie());
    request_done(&r);
    buf_fini(&token);
}

static void who_is_signed_in_is_no_guest(void **state)
{
    char cookie[4300];
    (void)state;
    assert_string_equal(visit(bearer("ann", 60, ",\"iat\":1"), NULL), "ann");
    assert_null(set_cookie());
    request_done(&r);
    snprintf(cookie, sizeof(cookie), "threadcast_session=%s", bearer("ann", 60, "") + 7);
    assert_string_equal(visit(NULL, cookie), "ann");
    assert_null(set_cookie());
    request_done(&r);
    /* a cookie that has run out is nobody's; a bearer that has is an error */
    snprintf(cookie, sizeof(cookie), "threadcast_session=%s", bearer("ann", -60, "") + 7);
    assert_int_equal(strncmp(visit(NULL, cookie), "guest:", 6), 0);
    request_done(&r);
    call(route_demo_session, HTTP_POST, bearer("ann", -60, ""), NULL, "{}");
    assert_answer(401, "token_expired");
    request_done(&r);
    call(route_demo_session, HTTP_POST, "Bearer x", NULL, "{}");
    assert_answer(401, "token_invalid");
    request_done(&r);
}

static void new_guests_are_rate_limited(void **state)
{
    char cookie[4300] = "";
    (void)state;
    for (int i = 0; i < 3; i++) {
        visit(NULL, NULL);
        strcpy(cookie, set_cookie());
        request_done(&r);
    }
    call(route_demo_session, HTTP_POST, NULL, NULL, "{}");
    assert_answer(429, "too_many_sessions");
    assert_true(has_header(&r, "Retry-After: 60\r\n"));
    assert_null(set_cookie());
    assert_int_equal(bridge.stats.limit_demo_sessions, 1);
    request_done(&r);
    visit(NULL, cookie); /* no new one */
    request_done(&r);
    strcpy(answer.peer, "10.0.0.1");
    visit(NULL, NULL);
    request_done(&r);
}

static void only_with_demo(void **state)
{
    (void)state;
    conf.demo = false;
    call(route_demo_session, HTTP_POST, NULL, NULL, "{}");
    assert_answer(404, "not_found");
    request_done(&r);
}

static void not_under_a_strangers_name(void **state)
{
    (void)state;
    request_begin(&r, &bridge, HTTP_POST, "", "Host", "evil.com:8080", NULL);
    route_demo_session(&r);
    assert_answer(403, "host_not_allowed");
    assert_int_equal(bridge.stats.origin_refused, 1);
    request_done(&r);
}

static void without_authentication_nobody_signs_in(void **state)
{
    struct buf err;
    (void)state;
    buf_init(&err);
    conf.auth = AUTH_MODE_NONE;
    auth_free(bridge.auth);
    bridge.auth = auth_new(&conf, &err);
    assert_string_equal(visit(NULL, NULL), "local");
    assert_non_null(strstr(answer.body, "\"expiresAt\":null"));
    assert_null(set_cookie());
    request_done(&r);
    call(route_session_post, HTTP_POST, NULL, NULL, "");
    json_decref(answered(200));
    assert_null(set_cookie());
    request_done(&r);
    call(route_tickets_post, HTTP_POST, NULL, NULL, "{\"threads\":[\"t1\"]}");
    assert_answer(404, "no_tickets");
    request_done(&r);
    buf_fini(&err);
}

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(a_bearer_becomes_a_cookie),
        fresh(no_cookie_without_a_good_token),
        fresh(long_tokens_fit_no_cookie),
        fresh(it_can_be_thrown_away),
        fresh(a_ticket_for_granted_threads),
        fresh(a_ticket_for_owned_threads),
        fresh(no_ticket_when_one_is_refused),
        fresh(tickets_want_a_list_of_ids),
        fresh(too_long_a_ticket),
        fresh(a_ticket_makes_no_ticket),
        fresh(a_visitor_becomes_a_guest_and_stays_it),
        fresh(in_the_second_half_the_cookie_is_renewed),
        fresh(who_is_signed_in_is_no_guest),
        fresh(new_guests_are_rate_limited),
        fresh(only_with_demo),
        fresh(not_under_a_strangers_name),
        fresh(without_authentication_nobody_signs_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
