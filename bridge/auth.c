/* auth: from a request's credentials to an identity. Says who is asking; access.c says
 * what they may do. Whatever is not clearly good is refused, and no credential is ever
 * logged, only the word why it was refused. */
#include "bridge/auth.h"

#include "bridge/base64url.h"
#include "bridge/bridge.h"
#include "bridge/cookie.h"
#include "bridge/jwt.h"
#include "bridge/keyload.h"
#include "bridge/keys.h"
#include "bridge/keyset.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/revoked.h"
#include "bridge/ticket.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LOCAL_SUB "local" /* who everybody is under --auth none */

struct auth {
    bool open;              /* --auth none */
    bool query_tokens;      /* --allow-query-token */
    struct keyset *keys;    /* this reactor's reference; NULL: --auth none */
    struct jwt_rules rules; /* borrows `keys` and the configuration */
};

static bool given(const char *text)
{
    return text && *text;
}

struct auth *auth_new(const struct bridge_conf *conf, struct buf *err)
{
    struct auth *a = calloc(1, sizeof(*a));

    if (!a) {
        buf_str(err, "out of memory");
        return NULL;
    }
    if (!origin_list_valid(conf->allowed_origins, err) ||
        !origin_list_valid(conf->public_origin, err))
        goto fail;
    a->query_tokens = conf->allow_query_token;
    if (conf->auth == AUTH_MODE_NONE) {
        a->open = true;
        return a;
    }
    a->keys = keyload(conf, NULL, err);
    if (!a->keys)
        goto fail;
    a->rules.keys = a->keys;
    a->rules.issuer = given(conf->jwt_jwks_url);
    a->rules.claims.audience = given(conf->jwt_audience) ? conf->jwt_audience : NULL;
    a->rules.claims.issuer = given(conf->jwt_issuer) ? conf->jwt_issuer : NULL;
    a->rules.claims.grants = conf->jwt_grants_claim;
    a->rules.claims.sub = conf->jwt_sub_claim;
    return a;

fail:
    auth_free(a);
    return NULL;
}

struct auth *auth_copy(const struct auth *a)
{
    struct auth *copy = malloc(sizeof(*copy));

    if (copy) {
        *copy = *a;
        if (copy->keys)
            keyset_ref(copy->keys);
    }
    return copy;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    keyset_unref(a->keys);
    free(a);
}

struct keyset *auth_keys(const struct auth *a)
{
    return a->keys;
}

void auth_take_keys(struct auth *a, struct keyset *keys)
{
    keyset_unref(a->keys);
    a->rules.keys = a->keys = keys;
}

bool auth_ready(const struct auth *a)
{
    return !a->rules.issuer || keyset_issued(a->keys);
}

int auth_bearer(const struct request *r, struct span *ret)
{
    static const char scheme[] = "Bearer ";
    struct span h = http_header(&r->http, "Authorization");
    size_t skip = sizeof(scheme) - 1;

    if (!h.at)
        return 0;
    if (h.len <= skip || strncasecmp(h.at, scheme, skip) != 0)
        return -1;
    while (skip < h.len && h.at[skip] == ' ')
        skip++;
    *ret = (struct span){h.at + skip, h.len - skip};
    return ret->len ? 1 : -1;
}

static enum auth_result by_token(const struct auth *a, struct span token,
                                 struct identity **ret, const char **ret_why)
{
    if (jwt_verify(&a->rules, token.at, token.len, clock_wall_ms(), ret, ret_why))
        return AUTH_OK;
    if (*ret_why == JWT_UNKNOWN_KEY)
        return AUTH_UNSURE;
    return *ret_why == JWT_NO_MEMORY ? AUTH_UNKNOWN : AUTH_REFUSED;
}

/* Signed with any of the keys: tickets live on while a secret is changed. */
static enum auth_result by_ticket(const struct auth *a, const char *text,
                                  struct identity **ret, const char **ret_why)
{
    const struct key *key;

    for (size_t i = 0; (key = keyset_ticket(a->keys, i)); i++)
        if (ticket_verify(key, text, strlen(text), clock_wall_ms(), ret, ret_why))
            return AUTH_OK;
        else if (*ret_why == JWT_NO_MEMORY)
            return AUTH_UNKNOWN;
        else if (strcmp(*ret_why, "signature") != 0)
            break;
    return AUTH_REFUSED;
}

/* A credential in the query: its name, and what takes it. */
static enum auth_result by_query(const struct auth *a, const struct request *r,
                                 const char *name, struct identity **ret,
                                 const char **ret_why)
{
    char text[JWT_MAX + 1];
    int found = http_query_get(r->http.query, name, text, sizeof(text));
    enum auth_result result = AUTH_REFUSED;

    if (found == 0)
        return AUTH_MISSING;
    if (found < 0)
        *ret_why = "malformed";
    else if (!strcmp(name, "token"))
        result = by_token(a, (struct span){text, strlen(text)}, ret, ret_why);
    else
        result = by_ticket(a, text, ret, ret_why);
    OPENSSL_cleanse(text, sizeof(text));
    return result;
}

static enum auth_result by_cookie(const struct auth *a, const struct request *r,
                                  struct identity **ret, const char **ret_why)
{
    struct span cookie = cookie_session(&r->http);
    return cookie.len ? by_token(a, cookie, ret, ret_why) : AUTH_MISSING;
}

static enum auth_result by_request(const struct auth *a, const struct request *r,
                                   struct identity **ret, const char **ret_why)
{
    struct span token;
    enum auth_result result;

    *ret_why = JWT_NO_MEMORY;
    if (a->open) {
        *ret = identity_new(LOCAL_SUB, strlen(LOCAL_SUB), INT64_MAX, INT64_MAX);
        if (*ret)
            (*ret)->everything = true;
        return *ret ? AUTH_OK : AUTH_UNKNOWN;
    }
    switch (auth_bearer(r, &token)) {
    case 1:
        return by_token(a, token, ret, ret_why);
    case -1:
        *ret_why = "malformed";
        return AUTH_REFUSED;
    }
    result = by_query(a, r, "ticket", ret, ret_why);
    if (result != AUTH_MISSING)
        return result;
    /* a browser sends its cookie whatever we think of it; what a page has put into the
     * address is meant */
    result = by_cookie(a, r, ret, ret_why);
    if (result != AUTH_OK && a->query_tokens) {
        enum auth_result asked = by_query(a, r, "token", ret, ret_why);
        if (asked != AUTH_MISSING)
            return asked;
    }
    return result;
}

/* A revocation that we have not read yet would be none: then nobody is let in. Takes id,
 * which is *ret when it may pass. */
static enum auth_result unless_revoked(const struct request *r, struct identity *id,
                                       struct identity **ret, const char **ret_why)
{
    struct revoked *revoked = r->bridge->revoked;
    enum auth_result result = AUTH_OK;

    if (revoked && !id->everything) {
        if (!revoked_known(revoked)) {
            *ret_why = "revocations are not known yet";
            result = AUTH_UNKNOWN;
        } else if (revoked_covers(revoked, id)) {
            *ret_why = "revoked";
            result = AUTH_REFUSED;
        }
    }
    if (result == AUTH_OK)
        *ret = id;
    else
        identity_unref(id);
    return result;
}

enum auth_result auth_identify(struct auth *a, const struct request *r,
                               struct identity **ret, const char **ret_why)
{
    struct identity *id = NULL;
    enum auth_result result = by_request(a, r, &id, ret_why);

    return result == AUTH_OK ? unless_revoked(r, id, ret, ret_why) : result;
}

/* Nothing of ours was shown: no token, or one that none of our keys has signed. What is
 * ours and refused (expired, revoked, for another audience) stays refused, and so does
 * what stands in the address. */
static bool is_foreign(const struct request *r, enum auth_result result, const char *why)
{
    static const char *const words[] = {"malformed", "too_long", "algorithm", "signature",
                                        "critical"};
    char text[1];

    if (http_query_get(r->http.query, "ticket", text, sizeof(text)) ||
        http_query_get(r->http.query, "token", text, sizeof(text)))
        return false;
    if (result != AUTH_REFUSED)
        return result == AUTH_MISSING;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strcmp(why, words[i]))
            return true;
    return why == JWT_UNKNOWN_KEY;
}

/* What --authorize-url has said, in the place of `result`. */
static enum auth_result by_authorizer(struct request *r, enum auth_result result,
                                      struct identity **ret, const char **ret_why)
{
    switch (r->authorized) {
    case AUTHORIZE_YES:
        return unless_revoked(r, identity_ref(r->authorized_as), ret, ret_why);
    case AUTHORIZE_UNAUTHORIZED:
        return result;
    case AUTHORIZE_FORBIDDEN:
        *ret_why = "forbidden";
        return AUTH_REFUSED;
    case AUTHORIZE_UNASKED:
    case AUTHORIZE_FAILED:
        break;
    }
    *ret_why = "the authorizer does not answer";
    return AUTH_UNKNOWN;
}

static void refuse_token(struct request *r, const char *why)
{
    if (!strcmp(why, "forbidden")) {
        request_error(r, 403, "forbidden", "the authorizer does not allow it");
        return;
    }
    request_header(r, "WWW-Authenticate",
                   "Bearer realm=\"threadcast\", error=\"invalid_token\"");
    if (!strcmp(why, "expired"))
        request_error(r, 401, "token_expired", "the token has expired");
    else if (!strcmp(why, "revoked"))
        request_error(r, 401, "revoked", "the token has been revoked");
    else
        request_error(r, 401, "token_invalid", "the token is not accepted");
}

void auth_refuse(struct request *r, enum auth_result result, const char *why)
{
    if (result == AUTH_UNSURE) {
        request_error(r, 503, "keys_unavailable",
                      "the issuer's keys are not here yet: try again");
        return;
    }
    if (result == AUTH_UNKNOWN) {
        r->bridge->stats.auth_unknown++;
        if (r->busy)
            r->busy(r, why);
        else
            request_error(r, 503, "busy", "it cannot be said who you are: try again");
        return;
    }
    if (result == AUTH_MISSING) {
        r->bridge->stats.auth_missing++;
        request_header(r, "WWW-Authenticate", "Bearer realm=\"threadcast\"");
        request_error(r, 401, "unauthorized", "a token is needed");
        return;
    }
    if (!strcmp(why, "revoked"))
        r->bridge->stats.auth_revoked++;
    else
        r->bridge->stats.auth_refused++;
    log_debug("credentials refused", LOG_S("why", why));
    refuse_token(r, why);
}

bool auth_require(struct request *r, bool tickets)
{
    struct identity *id = NULL;
    const char *why = "";
    enum auth_result result = auth_identify(r->bridge->auth, r, &id, &why);

    if (result == AUTH_OK && id->ticket && !tickets) {
        identity_unref(id);
        result = AUTH_REFUSED;
        why = "ticket";
    }
    if (result == AUTH_UNSURE && r->keys == KEYS_FRESH)
        result = AUTH_REFUSED; /* asked, and the issuer does not have it */
    if (result == AUTH_UNSURE && r->wait) {
        r->wait(r);
        return false;
    }
    if (r->authorize && is_foreign(r, result, why)) {
        if (r->authorized == AUTHORIZE_UNASKED && !r->authorize(r))
            return false;
        result = by_authorizer(r, result, &id, &why);
    }
    if (result != AUTH_OK) {
        auth_refuse(r, result, why);
        return false;
    }
    identity_unref(r->identity);
    r->identity = id;
    return true;
}

bool auth_ticket(const struct auth *a, const struct ticket *t, struct buf *out)
{
    return a->keys && ticket_make(keyset_ticket(a->keys, 0), t, out);
}

bool auth_ticket_renew(const struct auth *a, const struct identity *id, int64_t now_ms,
                       int64_t max_ms, struct buf *out, struct identity **ret)
{
    int64_t end = now_ms + max_ms < id->end_ms ? now_ms + max_ms : id->end_ms;
    const char *why;
    struct ticket t = {.sub = id->sub,
                       .granted = (const char *const *)id->read,
                       .owned = (const char *const *)id->owned,
                       .issued_ms = now_ms,
                       .expires_ms = end,
                       .end_ms = id->end_ms,
                       .from_ms = id->issued_ms,
                       .jti = id->jti,
                       .by = id->by,
                       .by_from_ms = id->by_issued_ms};

    return id->ticket && end > id->expires_ms && auth_ticket(a, &t, out) &&
           by_ticket(a, out->data, ret, &why) == AUTH_OK;
}

/* What bridges tell each other is signed with a key of its own kind. Returns new. */
static struct key *bridge_key(const struct auth *a, size_t i)
{
    const struct key *ticket = a->keys ? keyset_ticket(a->keys, i) : NULL;
    return ticket ? key_derive(ticket, "threadcast bridge 1") : NULL;
}

bool auth_sign(const struct auth *a, const char *text, size_t len, struct buf *out)
{
    unsigned char mac[KEY_MAC_SIZE];
    struct key *key = bridge_key(a, 0);
    bool ok = key && key_mac(key, text, len, mac);

    key_free(key);
    if (ok)
        base64url_encode(out, mac, sizeof(mac));
    return ok && !out->failed;
}

bool auth_signed(const struct auth *a, const char *text, size_t len,
                 const unsigned char *mac, size_t mac_len)
{
    struct key *key;
    bool ok = false;

    for (size_t i = 0; !ok && (key = bridge_key(a, i)); i++) {
        ok = key_verify(key, text, len, mac, mac_len);
        key_free(key);
    }
    return ok;
}

bool auth_guest(const struct auth *a, const char *sub, int64_t now_ms, int64_t expires_ms,
                struct buf *out)
{
    const struct claims_rules *rules = &a->rules.claims;
    const struct key *signer = a->keys ? keyset_signer(a->keys) : NULL;
    json_t *claims =
        !signer ? NULL
                : json_pack("{s:I, s:I, s:s*, s:s*}", "iat", (json_int_t)(now_ms / 1000),
                            "exp", (json_int_t)(expires_ms / 1000), "aud",
                            rules->audience, "iss", rules->issuer);
    char *text = NULL;
    bool ok;

    if (claims &&
        claims_put(claims, rules->sub ? rules->sub : CLAIMS_SUB, json_string(sub)))
        text = json_text(claims, JSON_COMPACT);
    ok = text && jwt_sign(signer, text, strlen(text), out);
    free(text);
    json_decref(claims);
    return ok;
}
