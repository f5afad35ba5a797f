/* route_session: how a browser comes by what lets it in: a session cookie for a token, a
 * ticket for some threads, a guest's session on the demonstration. */
#include "bridge/access.h"
#include "bridge/auth.h"
#include "bridge/base_path.h"
#include "bridge/bridge.h"
#include "bridge/cookie.h"
#include "bridge/identity.h"
#include "bridge/limits.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "bridge/ticket.h"
#include "common/clock.h"
#include "common/event.h" /* struct span */
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUEST_PREFIX "guest:"
#define TTL_MAX_S (INT64_C(10) * 366 * 86400) /* of a ticket: its token is shorter */

static void set_cookie(struct request *r, const char *token, size_t len,
                       int64_t max_age_s)
{
    struct buf value;

    buf_init(&value);
    cookie_set(&value, token, len, max_age_s, origin_secure(r),
               base_path_cookie(r->bridge->conf->base_path));
    if (!value.failed)
        request_header(r, "Set-Cookie", value.data);
    buf_fini(&value);
}

/* {"sub":…,"expiresAt":…}: Unix milliseconds, null when it never ends. */
static void reply_identity(struct request *r, const char *sub, int64_t expires_ms)
{
    json_t *end = expires_ms == INT64_MAX ? json_null() : json_integer(expires_ms);
    request_json(r, 200, json_pack("{s:s, s:o}", "sub", sub, "expiresAt", end));
}

/* --- POST and DELETE /v1/session ------------------------------------------------------
 */

void route_session_post(struct request *r)
{
    struct span token = {0};

    if (r->bridge->conf->auth != AUTH_MODE_NONE && auth_bearer(r, &token) == 0) {
        auth_refuse(r, AUTH_MISSING, "");
        return;
    }
    if (!auth_require(r, false))
        return;
    if (r->bridge->conf->auth == AUTH_MODE_NONE) {
        reply_identity(r, r->identity->sub, INT64_MAX);
        return;
    }
    if (r->identity->foreign) {
        request_error(r, 400, "foreign_token",
                      "this token is not ours to keep: send it, or your own cookie");
        return;
    }
    if (token.len > COOKIE_TOKEN_MAX) {
        request_error(r, 400, "token_too_long",
                      "the token is too long for a cookie: at most 3800 bytes");
        return;
    }
    int64_t left_s = (r->identity->expires_ms - clock_wall_ms()) / 1000;
    set_cookie(r, token.at, token.len, left_s > 0 ? left_s : 1);
    reply_identity(r, r->identity->sub, r->identity->expires_ms);
}

/* Whoever asks: there is nothing to keep that a cookie's holder could not throw away. */
void route_session_delete(struct request *r)
{
    set_cookie(r, "", 0, 0);
    request_reply(r, 204, NULL, NULL, 0);
}

/* --- POST /v1/tickets -----------------------------------------------------------------
 */

/* One request for a ticket while its threads are asked about. */
struct wish {
    struct request *r;
    const char *sub; /* whose it will be, when somebody else's; in `body` */
    int64_t ttl_ms;  /* 0: not said */
    size_t count, waiting;
    bool unknown, denied;
    const char **granted, **owned; /* NULL-terminated; filled as the answers come */
    size_t granted_count, owned_count;
    json_t *body; /* owns the ids */
    struct thread_wish {
        struct wish *wish;
        const char *id;
    } threads[];
};

static void wish_free(struct wish *w)
{
    request_unref(w->r);
    json_decref(w->body);
    free(w->granted);
    free(w->owned);
    free(w);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Its stream is given new ones until `end`, which is never behind that of the token it is
 * made from. A service's is not renewed beyond what the service said: whether its user is
 * still there is the service's to know. */
static struct ticket wish_ticket(const struct wish *w)
{
    const struct identity *id = w->r->identity;
    int64_t now = clock_wall_ms(), max = w->r->bridge->conf->ticket_max_s * 1000;
    int64_t life = w->ttl_ms ? w->ttl_ms : w->sub ? max : INT64_MAX - now;
    int64_t end = sooner(now + life, id->expires_ms);
    struct ticket t = {.sub = w->sub ? w->sub : id->sub,
                       .granted = w->granted,
                       .owned = w->owned,
                       .issued_ms = now,
                       .expires_ms = sooner(now + max, end),
                       .end_ms = end,
                       .from_ms = w->sub ? now : id->issued_ms,
                       .jti = id->jti};

    if (w->sub) {
        t.by = id->sub;
        t.by_from_ms = id->issued_ms;
    }
    return t;
}

static void wish_grant(struct wish *w)
{
    struct request *r = w->r;
    struct ticket t = wish_ticket(w);
    struct buf ticket;

    buf_init(&ticket);
    if (auth_ticket(r->bridge->auth, &t, &ticket))
        request_json(r, 200,
                     json_pack("{s:s, s:I, s:I}", "ticket", ticket.data, "expiresAt",
                               (json_int_t)t.expires_ms, "renewableUntil",
                               (json_int_t)t.end_ms));
    else if (ticket.failed)
        request_error(r, 503, "busy", "try again");
    else
        request_error(r, 400, "ticket_too_long", "too many threads for one ticket");
    buf_fini(&ticket);
}

/* All answers are here. */
static void wish_end(struct wish *w)
{
    if (w->denied)
        request_error(w->r, 403, "forbidden", "not your thread, or there is none");
    else if (w->unknown)
        request_error(w->r, 503, "busy", "the database did not answer: try again");
    else
        wish_grant(w);
    wish_free(w);
}

static void on_access(enum access_result result, void *arg)
{
    struct thread_wish *t = arg;
    struct wish *w = t->wish;

    switch (result) {
    case ACCESS_GRANTED:
        w->granted[w->granted_count++] = t->id;
        break;
    case ACCESS_OWNER:
        w->owned[w->owned_count++] = t->id;
        break;
    case ACCESS_DENIED:
        w->denied = true;
        break;
    case ACCESS_UNKNOWN:
        w->unknown = true;
        break;
    }
    if (--w->waiting == 0)
        wish_end(w);
}

/* The ids in the body, all valid and not too many; else answered. */
static const json_t *wished_threads(struct request *r, const json_t *body)
{
    const json_t *list = json_object_get(body, "threads");
    size_t count = json_array_size(list);
    size_t max = (size_t)r->bridge->conf->max_threads_per_stream;

    if (!json_is_array(list) || count < 1 || count > max) {
        char message[96];
        snprintf(message, sizeof(message), "threads must be a list of 1 to %zu ids", max);
        request_error(r, 400, "bad_threads", message);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item) ||
            !thread_id_valid(json_string_value(item), json_string_length(item))) {
            request_error(r, 400, "bad_thread_id", "not the id of a thread");
            return NULL;
        }
    }
    return list;
}

/* Takes body. NULL: no memory. */
static struct wish *wish_new(struct request *r, json_t *body, const json_t *list)
{
    size_t count = json_array_size(list);
    struct wish *w = calloc(1, sizeof(*w) + count * sizeof(w->threads[0]));

    if (!w) {
        json_decref(body);
        return NULL;
    }
    w->r = request_ref(r);
    w->body = body;
    w->count = count;
    w->waiting = count + 1; /* one for who asks: answers may come at once */
    w->granted = calloc(count + 1, sizeof(*w->granted));
    w->owned = calloc(count + 1, sizeof(*w->owned));
    for (size_t i = 0; i < count; i++)
        w->threads[i] =
            (struct thread_wish){w, json_string_value(json_array_get(list, i))};
    if (!w->granted || !w->owned) {
        wish_free(w);
        return NULL;
    }
    return w;
}

/* sub and ttl of the body. false: answered. */
static bool read_terms(struct wish *w)
{
    const json_t *sub = json_object_get(w->body, "sub");
    const json_t *ttl = json_object_get(w->body, "ttl");

    if (ttl && (!json_is_integer(ttl) || json_integer_value(ttl) < 1 ||
                json_integer_value(ttl) > TTL_MAX_S)) {
        request_error(w->r, 400, "bad_ttl", "ttl must be seconds, at least one");
        return false;
    }
    w->ttl_ms = json_integer_value(ttl) * 1000;
    if (!sub)
        return true;
    if (!json_is_string(sub) ||
        !sub_valid(json_string_value(sub), json_string_length(sub))) {
        request_error(w->r, 400, "bad_sub", "not a subject");
        return false;
    }
    if (w->r->identity->may_ticket) {
        w->sub = json_string_value(sub);
        return true;
    }
    w->r->bridge->stats.access_denied++;
    request_error(w->r, 403, "forbidden", "this token may not make tickets for others");
    return false;
}

/* A service's grants, and nothing else: what it owns, or who it names owns, is not asked.
 */
static enum access_result service_reads(const struct request *r, const char *thread_id)
{
    if (identity_reads(r->identity, thread_id))
        return ACCESS_GRANTED;
    r->bridge->stats.access_denied++;
    return ACCESS_DENIED;
}

static void ask_threads(struct wish *w)
{
    struct request *r = w->r;

    for (size_t i = 0, count = w->count; i < count; i++) {
        if (w->sub)
            on_access(service_reads(r, w->threads[i].id), &w->threads[i]);
        else
            access_check(r->bridge, r->identity, w->threads[i].id, ACCESS_READ, on_access,
                         &w->threads[i]);
    }
    if (--w->waiting == 0)
        wish_end(w);
}

void route_tickets_post(struct request *r)
{
    if (!auth_require(r, false))
        return;
    if (r->bridge->conf->auth == AUTH_MODE_NONE) {
        request_error(r, 404, "no_tickets",
                      "nobody needs a ticket without authentication");
        return;
    }
    json_t *body = request_body_object(r);
    if (!body)
        return;
    const json_t *list = wished_threads(r, body);
    if (!list) {
        json_decref(body);
        return;
    }
    struct wish *w = wish_new(r, body, list);
    if (!w) {
        request_error(r, 503, "busy", "try again");
        return;
    }
    if (read_terms(w))
        ask_threads(w);
    else
        wish_free(w);
}

/* --- POST /v1/demo/session ------------------------------------------------------------
 */

static bool is_guest(const struct identity *id)
{
    return !strncmp(id->sub, GUEST_PREFIX, strlen(GUEST_PREFIX));
}

static void sign_in(struct request *r, const char *sub)
{
    int64_t now = clock_wall_ms() / 1000 * 1000;
    int64_t end = now + r->bridge->conf->guest_ttl_s * 1000;
    struct buf token;

    buf_init(&token);
    if (auth_guest(r->bridge->auth, sub, now, end, &token)) {
        set_cookie(r, token.data, token.len, r->bridge->conf->guest_ttl_s);
        reply_identity(r, sub, end);
    } else {
        request_error(r, 503, "busy", "try again");
    }
    buf_fini(&token);
}

/* Somebody who is signed in stays who they are; a guest's cookie is made anew in the
 * second half of its life. */
static void stay(struct request *r, const struct identity *id)
{
    if (is_guest(id) && id->expires_ms - clock_wall_ms() < id->life_ms / 2)
        sign_in(r, id->sub);
    else
        reply_identity(r, id->sub, id->expires_ms);
}

static void new_guest(struct request *r)
{
    struct bridge *b = r->bridge;
    char address[64], uuid[UUID_SIZE], sub[sizeof(GUEST_PREFIX) + UUID_SIZE];

    if (!limits_guest(b->limits, request_address(r, address), clock_ms())) {
        b->stats.limit_demo_sessions++;
        request_header(r, "Retry-After", "60");
        request_error(r, 429, "too_many_sessions",
                      "too many new visitors from this address: try again in a minute");
        return;
    }
    uuid_new(uuid);
    snprintf(sub, sizeof(sub), GUEST_PREFIX "%s", uuid);
    log_info("guest signed in", LOG_S("sub", sub), LOG_S("address", address),
             LOG_S("request", r->trace.request_id));
    sign_in(r, sub);
}

void route_demo_session(struct request *r)
{
    struct identity *id = NULL;
    const char *why = "";
    struct span token;

    if (!r->bridge->conf->demo) {
        request_error(r, 404, "not_found", "no such thing here");
        return;
    }
    if (!origin_host_known(r)) {
        r->bridge->stats.origin_refused++;
        request_error(r, 403, "host_not_allowed",
                      "guests are not taken under this name: give it as --public-origin");
        return;
    }
    enum auth_result result = auth_identify(r->bridge->auth, r, &id, &why);
    if (result == AUTH_UNSURE && r->keys != KEYS_FRESH && r->wait) {
        r->wait(r); /* a guest's cookie would take the place of a good one */
        return;
    }
    if (result == AUTH_OK && !id->ticket)
        stay(r, id);
    else if (result == AUTH_UNKNOWN || (result != AUTH_OK && auth_bearer(r, &token) != 0))
        auth_refuse(r, result, why); /* who shows a token wants to be that one */
    else
        new_guest(r);
    identity_unref(id);
}
