/* auth: from a request's credentials to an identity. Says who is asking; access.c says
 * what they may do. Whatever is not clearly good is refused, and no credential is ever
 * logged, only the word why it was refused. */
#include "bridge/auth.h"

#include "bridge/base64url.h"
#include "bridge/bridge.h"
#include "bridge/cookie.h"
#include "bridge/jwt.h"
#include "bridge/keyfile.h"
#include "bridge/keys.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/revoked.h"
#include "bridge/ticket.h"
#include "common/clock.h"
#include "common/log.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LOCAL_SUB "local" /* who everybody is under --auth none */

struct auth {
    bool open;         /* --auth none */
    bool query_tokens; /* --allow-query-token */
    struct key *key, *ticket_key;
    struct key *bridge_key; /* between bridges; from ticket_key */
    struct jwt_rules rules; /* borrows `key` and the configuration */
};

/* `JWT_SECRET= threadcast-bridge` is the same as none. */
static bool given(const char *text)
{
    return text && *text;
}

/* The secret's bytes, from where the configuration says. */
static bool secret_text(const struct bridge_conf *conf, struct buf *out, struct buf *err)
{
    if (given(conf->jwt_secret)) {
        buf_str(out, conf->jwt_secret);
        if (out->failed)
            buf_str(err, "out of memory");
        return !out->failed;
    }
    if (conf->demo && !keyfile_make(conf->jwt_secret_file, err))
        return false;
    return keyfile_read(conf->jwt_secret_file, out, err);
}

/* key_from_secret or key_from_pem, with the option's name before what they complain of.
 */
static struct key *make_key(struct key *make(const void *, size_t, struct buf *),
                            const char *option, const struct buf *text, struct buf *err)
{
    struct buf why;
    struct key *key;

    buf_init(&why);
    key = make(text->data, text->len, &why);
    if (!key)
        buf_printf(err, "%s: %s", option, why.failed ? "out of memory" : why.data);
    buf_fini(&why);
    return key;
}

static struct key *load_secret(const struct bridge_conf *conf, struct buf *err)
{
    struct key *key = NULL;
    struct buf text;

    buf_init(&text);
    if (secret_text(conf, &text, err))
        key = make_key(key_from_secret,
                       given(conf->jwt_secret) ? "JWT_SECRET" : conf->jwt_secret_file,
                       &text, err);
    if (text.data)
        OPENSSL_cleanse(text.data, text.len);
    buf_fini(&text);
    return key;
}

static struct key *load_public(const struct bridge_conf *conf, struct buf *err)
{
    struct key *key = NULL;
    struct buf text;

    buf_init(&text);
    if (keyfile_read(conf->jwt_public_key_file, &text, err))
        key = make_key(key_from_pem, conf->jwt_public_key_file, &text, err);
    buf_fini(&text);
    return key;
}

/* Which key, when the configuration names exactly one. */
static struct key *load_key(const struct bridge_conf *conf, struct buf *err)
{
    bool public = given(conf->jwt_public_key_file);
    int count = given(conf->jwt_secret) + given(conf->jwt_secret_file) + public;

    if (count > 1) {
        buf_str(err,
                "JWT_SECRET, JWT_SECRET_FILE and JWT_PUBLIC_KEY_FILE: give one only");
        return NULL;
    }
    if (count == 0) {
        buf_str(err, conf->demo
                         ? "--demo needs JWT_SECRET_FILE, where it keeps the key "
                           "that it makes, or JWT_SECRET"
                         : "no key for tokens: give JWT_SECRET, JWT_SECRET_FILE or "
                           "JWT_PUBLIC_KEY_FILE");
        return NULL;
    }
    if (conf->demo && public) {
        buf_str(err, "--demo signs its guests in by itself and needs JWT_SECRET; it "
                     "cannot do so with JWT_PUBLIC_KEY_FILE");
        return NULL;
    }
    return public ? load_public(conf, err) : load_secret(conf, err);
}

static struct key *load_ticket_key(const struct bridge_conf *conf, const struct key *key,
                                   struct buf *err)
{
    static const char label[] = "threadcast ticket 1";
    struct key *own = NULL, *derived = NULL;

    if (given(conf->ticket_secret)) {
        struct buf text = {.data = conf->ticket_secret,
                           .len = strlen(conf->ticket_secret)};
        own = make_key(key_from_secret, "ticket secret", &text, err);
        if (!own)
            return NULL;
    } else if (!key_symmetric(key)) {
        log_warn("tickets are signed with a key of this process: they end with it and no "
                 "other bridge takes them; give a ticket secret to change that");
        own = key_random();
    }
    derived = own || key_symmetric(key) ? key_derive(own ? own : key, label) : NULL;
    key_free(own);
    if (!derived)
        buf_str(err, "cannot make the key for tickets");
    return derived;
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
    a->key = load_key(conf, err);
    a->ticket_key = a->key ? load_ticket_key(conf, a->key, err) : NULL;
    a->bridge_key =
        a->ticket_key ? key_derive(a->ticket_key, "threadcast bridge 1") : NULL;
    if (!a->bridge_key)
        goto fail;
    a->rules.key = a->key;
    a->rules.claims.audience = given(conf->jwt_audience) ? conf->jwt_audience : NULL;
    a->rules.claims.issuer = given(conf->jwt_issuer) ? conf->jwt_issuer : NULL;
    return a;

fail:
    auth_free(a);
    return NULL;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    key_free(a->key);
    key_free(a->ticket_key);
    key_free(a->bridge_key);
    free(a);
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
    return jwt_verify(&a->rules, token.at, token.len, clock_wall_ms(), ret, ret_why)
               ? AUTH_OK
               : AUTH_REFUSED;
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
    else if (ticket_verify(a->ticket_key, text, strlen(text), clock_wall_ms(), ret,
                           ret_why))
        result = AUTH_OK;
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

    *ret_why = "memory";
    if (a->open) {
        *ret = identity_new(LOCAL_SUB, strlen(LOCAL_SUB), INT64_MAX, INT64_MAX);
        if (*ret)
            (*ret)->everything = true;
        return *ret ? AUTH_OK : AUTH_REFUSED;
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

/* A revocation that we have not read yet would be none: then nobody is let in. */
enum auth_result auth_identify(struct auth *a, const struct request *r,
                               struct identity **ret, const char **ret_why)
{
    struct revoked *revoked = r->bridge->revoked;
    struct identity *id = NULL;
    enum auth_result result = by_request(a, r, &id, ret_why);

    if (result == AUTH_OK && revoked && !id->everything) {
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

static void refuse_token(struct request *r, const char *why)
{
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
    return a->ticket_key && ticket_make(a->ticket_key, t, out);
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
           ticket_verify(a->ticket_key, out->data, out->len, now_ms, ret, &why);
}

bool auth_sign(const struct auth *a, const char *text, size_t len, struct buf *out)
{
    unsigned char mac[KEY_MAC_SIZE];

    if (!a->bridge_key || !key_mac(a->bridge_key, text, len, mac))
        return false;
    base64url_encode(out, mac, sizeof(mac));
    return !out->failed;
}

bool auth_signed(const struct auth *a, const char *text, size_t len,
                 const unsigned char *mac, size_t mac_len)
{
    return a->bridge_key && key_verify(a->bridge_key, text, len, mac, mac_len);
}

static void add_claim(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, value, strlen(value));
}

bool auth_guest(const struct auth *a, const char *sub, int64_t now_ms, int64_t expires_ms,
                struct buf *out)
{
    struct buf claims;
    bool ok;

    if (!a->key)
        return false;
    buf_init(&claims);
    buf_printf(&claims, "{\"iat\":%lld,\"exp\":%lld", (long long)(now_ms / 1000),
               (long long)(expires_ms / 1000));
    add_claim(&claims, "sub", sub);
    add_claim(&claims, "aud", a->rules.claims.audience);
    add_claim(&claims, "iss", a->rules.claims.issuer);
    buf_char(&claims, '}');
    ok = !claims.failed && jwt_sign(a->key, claims.data, claims.len, out);
    buf_fini(&claims);
    return ok;
}
