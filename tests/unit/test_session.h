/* A bridge with a demonstration, and requests to its sessions' routes. */
#ifndef THREADCAST_TEST_SESSION_H
#define THREADCAST_TEST_SESSION_H

#include "bridge/cookie.h"
#include "bridge/identity.h"
#include "bridge/limits.h"
#include "bridge/routes.h"
#include "common/clock.h"
#include "common/json.h"
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
    conf = (struct bridge_conf){.jwt_secret = secret,
                                .ticket_max_s = 3600,
                                .guest_ttl_s = 1000,
                                .demo_sessions_per_min = 3,
                                .max_threads_per_stream = 32,
                                .demo = true,
                                .upstream_timeout_ms = 60000};
    buf_init(&err);
    bridge = (struct bridge){.conf = &conf,
                             .pg = (struct pg_pool *)(uintptr_t)16,
                             .auth = auth_new(&conf, &err),
                             .limits = limits_new(&conf, 0)};
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
    limits_free(bridge.limits);
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
    json_t *value = json_read(answer.body, strlen(answer.body), 0, NULL);
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

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
