/* route_session: cookies for tokens, tickets for threads. */
#include "test_session.h"

/* --- the session ----------------------------------------------------------------------
 */

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
    snprintf(
        wanted, sizeof(wanted),
        "Set-Cookie: threadcast_session=%s; Path=/; Max-Age=", token + strlen("Bearer "));
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

/* --- tickets --------------------------------------------------------------------------
 */

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
        call(route_tickets_post, HTTP_POST, bearer("ann", 60, READS_ALL), NULL,
             rows[i].body);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
