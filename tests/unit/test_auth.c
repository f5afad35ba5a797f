/* auth: which configurations start, where a request's credentials are looked for, and the
 * 401 of each kind. */
#include "bridge/identity.h"
#include "common/clock.h"
#include "common/log.h"
#include "test_request.h"
#include "test_tokens.h"

#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct bridge_conf conf;
static struct bridge bridge;
static struct request r;
static char secret[] = TEST_SECRET,
            other_secret[] = "another secret of more than 32 bytes";
static char dir[64], path[96], pem_path[96];

static int setup_dir(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    strcpy(dir, "/tmp/threadcast-auth-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/secret", dir);
    snprintf(pem_path, sizeof(pem_path), "%s/key.pem", dir);
    return 0;
}

static int teardown_dir(void **state)
{
    (void)state;
    unlink(path);
    unlink(pem_path);
    return rmdir(dir);
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* --- starting -------------------------------------------------------------------------
 */

static void assert_starts(const struct bridge_conf *c)
{
    struct buf err;
    buf_init(&err);
    struct auth *a = auth_new(c, &err);
    if (!a)
        fail_msg("did not start: %s", err.data);
    assert_int_equal(err.len, 0);
    auth_free(a);
    buf_fini(&err);
}

static void assert_refuses(const struct bridge_conf *c, const char *word)
{
    struct buf err;
    buf_init(&err);
    assert_null(auth_new(c, &err));
    if (!err.data || !strstr(err.data, word))
        fail_msg("'%s' does not say '%s'", err.data, word);
    assert_null(strstr(err.data, "threadcast-secret-word"));
    buf_fini(&err);
}

static void starts_with_the_keys_that_it_is_given(void **state)
{
    char empty[] = "", shortest[] = "0123456789abcdef0123456789abcde";
    char url[] = "https://issuer.example/keys";
    (void)state;
    write_file(path, TEST_SECRET "\n");
    write_file(pem_path, TEST_EC_PEM);
    assert_starts(&(struct bridge_conf){.jwt_secret = secret});
    assert_starts(&(struct bridge_conf){.jwt_secret_file = path});
    assert_starts(&(struct bridge_conf){.jwt_public_key_file = pem_path});
    assert_starts(&(struct bridge_conf){
        .jwt_secret = secret, .jwt_secret_file = empty, .jwt_public_key_file = empty});
    assert_starts(&(struct bridge_conf){.jwt_secret = secret, .ticket_secret = secret});
    assert_starts(&(struct bridge_conf){.auth = AUTH_MODE_NONE});
    assert_refuses(&(struct bridge_conf){0}, "no key");
    assert_refuses(&(struct bridge_conf){.jwt_secret = empty}, "no key");
    assert_refuses(&(struct bridge_conf){.jwt_secret = secret, .jwt_secret_file = path},
                   "one only");
    assert_starts(
        &(struct bridge_conf){.jwt_secret = secret, .jwt_public_key_file = pem_path});
    assert_starts(&(struct bridge_conf){.jwt_jwks_url = url});
    assert_refuses(&(struct bridge_conf){.jwt_secret = shortest},
                   "JWT_SECRET: the secret has 31");
    assert_refuses(&(struct bridge_conf){.jwt_secret = secret, .ticket_secret = shortest},
                   "ticket secret: the secret has 31");
    write_file(path, "too short\n");
    assert_refuses(&(struct bridge_conf){.jwt_secret_file = path}, path);
    unlink(path);
    assert_refuses(&(struct bridge_conf){.jwt_secret_file = path}, "No such file");
    write_file(pem_path, "threadcast-secret-word");
    assert_refuses(&(struct bridge_conf){.jwt_public_key_file = pem_path}, pem_path);
    write_file(pem_path, TEST_EC_PEM);
}

static void origins_are_checked_at_start(void **state)
{
    char star[] = "https://a.example, *", slash[] = "https://a.example/";
    (void)state;
    assert_refuses(&(struct bridge_conf){.jwt_secret = secret, .allowed_origins = star},
                   "'*' is not an origin");
    assert_refuses(&(struct bridge_conf){.jwt_secret = secret, .public_origin = slash},
                   "is not an origin");
}

static void the_demo_makes_its_key(void **state)
{
    struct bridge_conf demo = {.demo = true, .jwt_secret_file = path};
    struct stat st;
    (void)state;
    unlink(path);
    assert_starts(&demo);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    ino_t made = st.st_ino;
    assert_starts(&demo);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_ino, made);
    write_file(path, "too short"); /* somebody's own: not replaced */
    assert_refuses(&demo, "at least 32");
    unlink(path);
    assert_refuses(&(struct bridge_conf){.demo = true}, "JWT_SECRET_FILE");
    assert_refuses(&(struct bridge_conf){.demo = true, .jwt_public_key_file = pem_path},
                   "--demo");
    assert_starts(&(struct bridge_conf){.demo = true, .jwt_secret = secret});
}

/* --- a running one --------------------------------------------------------------------
 */

static struct key *key, *other_key;
static char *ann, *bob, *expired, *forged, *ticket; /* credentials */

static char *token_of(const struct key *k, const char *sub, int64_t from_now_s)
{
    struct buf b;
    char claims[128];
    buf_init(&b);
    snprintf(claims, sizeof(claims), "{\"sub\":\"%s\",\"exp\":%lld}", sub,
             (long long)(clock_wall_ms() / 1000 + from_now_s));
    token_text(&b, k, HS256_HEADER, claims);
    return buf_take(&b, NULL);
}

static int setup(void **state)
{
    struct buf err, out;
    const char *threads[] = {"t1", NULL};
    (void)state;
    buf_init(&err);
    buf_init(&out);
    conf = (struct bridge_conf){.jwt_secret = secret};
    bridge = (struct bridge){.conf = &conf, .auth = auth_new(&conf, &err)};
    key = key_from_secret(secret, strlen(secret), &err);
    other_key = key_from_secret(other_secret, strlen(other_secret), &err);
    ann = token_of(key, "ann", 60);
    bob = token_of(key, "bob", 60);
    expired = token_of(key, "ann", -60);
    forged = token_of(other_key, "ann", 60);
    int64_t now = clock_wall_ms();
    bool ok = bridge.auth && ticket_for_ann(bridge.auth, threads, now, 60000, &out);
    ticket = buf_take(&out, NULL);
    buf_fini(&err);
    return ok ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    auth_free(bridge.auth);
    key_free(key);
    key_free(other_key);
    free(ann);
    free(bob);
    free(expired);
    free(forged);
    free(ticket);
    return 0;
}

static void begin(const char *authorization, const char *cookie, const char *query)
{
    request_begin(&r, &bridge, HTTP_GET, query, "Authorization", authorization, "Cookie",
                  cookie, NULL);
}

static char *joined(const char *a, const char *b)
{
    static char texts[8][8192];
    static unsigned next;
    char *to = texts[next++ % 8];
    snprintf(to, 8192, "%s%s", a, b);
    return to;
}

/* Who it is; "" when nobody, and the answer is left in `answer`. */
static const char *who(const char *authorization, const char *cookie, const char *query,
                       bool tickets)
{
    static char sub[SUB_MAX + 1];
    begin(authorization, cookie, query);
    bool ok = auth_require(&r, tickets);
    assert_int_equal(ok, r.identity != NULL);
    assert_int_equal(answer.answers, ok ? 0 : 1);
    snprintf(sub, sizeof(sub), "%s", ok ? r.identity->sub : "");
    if (!ok)
        assert_int_equal(answer.status, 401);
    request_done(&r);
    return sub;
}

#define bearer(token) joined("Bearer ", token)
#define cookie(token) joined("a=b; threadcast_session=", token)

static void finds_each_kind(void **state)
{
    (void)state;
    assert_string_equal(who(bearer(ann), NULL, "", false), "ann");
    assert_string_equal(who(joined("bearer   ", ann), NULL, "", false), "ann");
    assert_string_equal(who(NULL, cookie(ann), "", false), "ann");
    assert_string_equal(who(NULL, NULL, joined("ticket=", ticket), true), "ann");
    assert_string_equal(who(NULL, NULL, joined("a=1&ticket=", ticket), true), "ann");
}

static void authorization_wins(void **state)
{
    (void)state;
    assert_string_equal(who(bearer(bob), cookie(ann), "", false), "bob");
    assert_string_equal(who(bearer(bob), NULL, joined("ticket=", ticket), true), "bob");
    assert_string_equal(who(bearer(expired), cookie(ann), "", false), "");
    assert_string_equal(answer.code, "token_expired");
    assert_string_equal(who(bearer(forged), cookie(ann), "", false), "");
    assert_string_equal(answer.code, "token_invalid");
}

static void a_malformed_authorization_is_no_fallback(void **state)
{
    static const char *const rows[] = {
        "",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Basic YW5uOng=",
        "Bearerx",
        "Bearer\tx",
        "Bearer a b",
        "Bearer a.b.c",
        "Token x",
        "Bearer a.b.c, Bearer d.e.f",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(who(rows[i], cookie(ann), joined("ticket=", ticket), true),
                            "");
        assert_string_equal(answer.code, "token_invalid");
    }
}

static void a_ticket_is_for_streams(void **state)
{
    (void)state;
    assert_string_equal(who(NULL, NULL, joined("ticket=", ticket), false), "");
    assert_string_equal(answer.code, "token_invalid");
    assert_string_equal(who(NULL, cookie(ann), joined("ticket=", ticket), false), "");
    /* a token is no ticket, nor the other way round */
    assert_string_equal(who(NULL, NULL, joined("ticket=", ann), true), "");
    assert_string_equal(who(bearer(ticket), NULL, "", true), "");
    assert_string_equal(who(NULL, cookie(ticket), "", true), "");
    assert_string_equal(who(NULL, NULL, "ticket=", true), "");
    assert_string_equal(who(NULL, NULL, "ticket=%zz", true), "");
    /* twice is not clear */
    char twice[2048];
    snprintf(twice, sizeof(twice), "ticket=%s&ticket=%s", ticket, ticket);
    assert_string_equal(who(NULL, NULL, twice, true), "");
}

static void a_token_in_the_query_must_be_allowed(void **state)
{
    struct buf err;
    (void)state;
    buf_init(&err);
    assert_string_equal(who(NULL, NULL, joined("token=", ann), true), "");
    assert_string_equal(answer.code, "unauthorized");
    auth_free(bridge.auth);
    conf.allow_query_token = true;
    bridge.auth = auth_new(&conf, &err);
    assert_non_null(bridge.auth);
    assert_string_equal(who(NULL, NULL, joined("token=", ann), false), "ann");
    assert_string_equal(who(NULL, cookie(bob), joined("token=", ann), false), "bob");
    assert_string_equal(who(NULL, cookie(expired), joined("token=", ann), false), "ann");
    assert_string_equal(who(NULL, cookie(expired), "", false), "");
    assert_string_equal(answer.code, "token_expired");
    assert_string_equal(who(bearer(bob), NULL, joined("token=", ann), false), "bob");
    assert_string_equal(who(NULL, NULL, joined("token=", forged), false), "");
    buf_fini(&err);
}

static void each_refusal_says_how_to_ask(void **state)
{
    (void)state;
    begin(NULL, NULL, "");
    assert_false(auth_require(&r, false));
    assert_string_equal(answer.code, "unauthorized");
    assert_true(has_header(&r, "WWW-Authenticate: Bearer realm=\"threadcast\"\r\n"));
    request_done(&r);
    begin(bearer(expired), NULL, "");
    assert_false(auth_require(&r, false));
    assert_string_equal(answer.code, "token_expired");
    assert_true(has_header(&r, "error=\"invalid_token\""));
    request_done(&r);
    assert_int_equal(bridge.stats.auth_missing, 1);
    assert_int_equal(bridge.stats.auth_refused, 1);
    /* an empty cookie is none */
    assert_string_equal(who(NULL, "threadcast_session=", "", false), "");
    assert_string_equal(answer.code, "unauthorized");
}

static void words_for_counters(void **state)
{
    struct identity *id = NULL;
    const char *why;
    (void)state;
    begin(bearer(forged), NULL, "");
    assert_int_equal(auth_identify(bridge.auth, &r, &id, &why), AUTH_REFUSED);
    assert_string_equal(why, "signature");
    assert_null(id);
    request_done(&r);
    begin(NULL, NULL, "");
    assert_int_equal(auth_identify(bridge.auth, &r, &id, &why), AUTH_MISSING);
    request_done(&r);
}

static void without_authentication_all_are_one(void **state)
{
    struct bridge_conf open = {.auth = AUTH_MODE_NONE};
    struct buf err;
    (void)state;
    buf_init(&err);
    auth_free(bridge.auth);
    bridge.auth = auth_new(&open, &err);
    assert_non_null(bridge.auth);
    assert_string_equal(who(NULL, NULL, "", false), "local");
    assert_string_equal(who(bearer(forged), NULL, "ticket=x", false), "local");
    begin(NULL, NULL, "");
    assert_true(auth_require(&r, false));
    assert_true(r.identity->everything);
    assert_true(identity_reads(r.identity, "t1") && identity_writes(r.identity, "t1"));
    assert_true(r.identity->expires_ms == INT64_MAX);
    request_done(&r);
    buf_fini(&err);
}

static void tickets_outlive_a_restart(void **state)
{
    struct buf err;
    (void)state;
    buf_init(&err);
    auth_free(bridge.auth);
    bridge.auth = auth_new(&conf, &err);
    assert_non_null(bridge.auth);
    assert_string_equal(who(NULL, NULL, joined("ticket=", ticket), true), "ann");
    auth_free(bridge.auth); /* another secret, another key */
    conf.jwt_secret = other_secret;
    bridge.auth = auth_new(&conf, &err);
    assert_non_null(bridge.auth);
    assert_string_equal(who(NULL, NULL, joined("ticket=", ticket), true), "");
    auth_free(bridge.auth);
    conf.ticket_secret = secret; /* the same secret, given for tickets */
    bridge.auth = auth_new(&conf, &err);
    assert_non_null(bridge.auth);
    assert_string_equal(who(NULL, NULL, joined("ticket=", ticket), true), "ann");
    buf_fini(&err);
}

static void with_public_keys_tickets_need_a_secret(void **state)
{
    struct bridge_conf c = {.jwt_public_key_file = pem_path};
    const char *threads[] = {"t1", NULL};
    struct buf err, text;
    (void)state;
    write_file(pem_path, TEST_EC_PEM);
    for (int given = 0; given < 2; given++) {
        buf_init(&err);
        buf_init(&text);
        c.ticket_secret = given ? secret : NULL;
        auth_free(bridge.auth);
        bridge.auth = auth_new(&c, &err);
        assert_non_null(bridge.auth);
        assert_non_null(bridge.auth);
        int64_t now = clock_wall_ms();
        assert_true(ticket_for_ann(bridge.auth, threads, now, 9999, &text));
        assert_string_equal(who(NULL, NULL, joined("ticket=", text.data), true), "ann");
        auth_free(bridge.auth);
        bridge.auth = auth_new(&c, &err); /* a restart */
        assert_non_null(bridge.auth);
        assert_string_equal(who(NULL, NULL, joined("ticket=", text.data), true),
                            given ? "ann" : "");
        /* guests cannot be signed */
        assert_false(auth_guest(bridge.auth, "guest:x", now, now + 9999, &text));
        buf_fini(&err);
        buf_fini(&text);
    }
}

static void guests_get_the_claims_that_are_asked_for(void **state)
{
    char audience[] = "a\"b", issuer[] = "me";
    struct buf err, text;
    (void)state;
    buf_init(&err);
    buf_init(&text);
    conf.jwt_audience = audience;
    conf.jwt_issuer = issuer;
    auth_free(bridge.auth);
    bridge.auth = auth_new(&conf, &err);
    assert_non_null(bridge.auth);
    int64_t now = clock_wall_ms();
    assert_true(auth_guest(bridge.auth, "guest:1", now, now + 60000, &text));
    assert_string_equal(who(bearer(text.data), NULL, "", false), "guest:1");
    assert_string_equal(who(bearer(ann), NULL, "", false), ""); /* has neither */
    buf_fini(&err);
    buf_fini(&text);
}

#define with_bridge(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_the_keys_that_it_is_given),
        cmocka_unit_test(origins_are_checked_at_start),
        cmocka_unit_test(the_demo_makes_its_key),
        with_bridge(finds_each_kind),
        with_bridge(authorization_wins),
        with_bridge(a_malformed_authorization_is_no_fallback),
        with_bridge(a_ticket_is_for_streams),
        with_bridge(a_token_in_the_query_must_be_allowed),
        with_bridge(each_refusal_says_how_to_ask),
        with_bridge(words_for_counters),
        with_bridge(without_authentication_all_are_one),
        with_bridge(tickets_outlive_a_restart),
        with_bridge(with_public_keys_tickets_need_a_secret),
        with_bridge(guests_get_the_claims_that_are_asked_for),
    };
    return cmocka_run_group_tests(tests, setup_dir, teardown_dir);
}
