/* route_session: sessions for guests of the demonstration. */
#include "test_session.h"

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

static void a_ticket_is_no_session(void **state)
{
    const char *threads[] = {"t1", NULL};
    struct buf query;
    int64_t now = clock_wall_ms();
    (void)state;
    buf_init(&query);
    buf_str(&query, "ticket=");
    assert_true(ticket_for_ann(bridge.auth, threads, now, 60000, &query));
    request_begin(&r, &bridge, HTTP_POST, query.data, "Host", "localhost", NULL);
    route_demo_session(&r);
    json_t *body = answered(200);
    assert_string_not_equal(json_string_value(json_object_get(body, "sub")), "ann");
    json_decref(body);
    request_done(&r);
    buf_fini(&query);
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
    assert_non_null(bridge.auth);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(a_visitor_becomes_a_guest_and_stays_it),
        fresh(in_the_second_half_the_cookie_is_renewed),
        fresh(who_is_signed_in_is_no_guest),
        fresh(a_ticket_is_no_session),
        fresh(new_guests_are_rate_limited),
        fresh(only_with_demo),
        fresh(not_under_a_strangers_name),
        fresh(without_authentication_nobody_signs_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
