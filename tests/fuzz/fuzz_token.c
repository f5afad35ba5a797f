/* Tokens, tickets, cookies, origins. The first byte says what the rest is:
 *   H R E D  a token, checked with the HS256, RS256, ES256, EdDSA key of the tests
 *   S        header LF payload: signed HS256 here, so that the claims are reached
 *   T        a ticket      t  the payload of a ticket, signed here
 *   C        a Cookie header      O  an origin      B  base64url
 * Whatever is accepted must keep the promises of auth.h. */
#include "../unit/test_tokens.h"
#include "bridge/cookie.h"
#include "bridge/jwt.h"
#include "bridge/site.h"
#include "bridge/ticket.h"
#include "common/names.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Was it accepted? (what the corpus' file names say: accept-… and refuse-…) */
bool token_input(const char *data, size_t size);

static struct key *keys[4];
static struct keyset *sets[4];
static struct keyset *mixed; /* all of them; the public ones are an issuer's, too */
static struct key *ticket_key;
/* Many keys at once have not accepted what one of them accepts, or something else. With
 * little memory that is no fault: some may have been asked before it was short. */
static bool mixed_differ;

static void make_keys(void)
{
    static const char *const pems[] = {TEST_RSA_PEM, TEST_EC_PEM, TEST_ED_PEM};
    struct buf err;

    buf_init(&err);
    keys[0] = key_from_secret(TEST_SECRET, strlen(TEST_SECRET), &err);
    for (int i = 0; i < 3; i++)
        keys[i + 1] = key_from_pem(pems[i], strlen(pems[i]), &err);
    mixed = keyset_new();
    for (int i = 0; i < 4; i++)
        if (!mixed || !keys[i] || !keyset_add_own(mixed, keys[i]) ||
            (i && !keyset_add_issued(mixed, i > 1 ? "a" : NULL, keys[i])))
            abort();
    ticket_key = key_derive(keys[0], "threadcast ticket 1");
    buf_fini(&err);
    for (int i = 0; i < 4; i++)
        sets[i] = keys[i] ? keyset_of(keys[i]) : NULL;
    if (!keys[0] || !keys[1] || !keys[2] || !keys[3] || !sets[0] || !sets[1] ||
        !sets[2] || !sets[3] || !ticket_key)
        abort();
}

#define RUN "agent_run:"

static void check_list(char *const *list, bool prefixes)
{
    size_t count = 0;
    for (; list && list[count]; count++) {
        const char *grant = list[count];
        if (prefixes && strncmp(grant, RUN, strlen(RUN)) == 0)
            grant += strlen(RUN); /* a run of the older interface, or a prefix of some */
        size_t len = strlen(grant);
        bool star = len && grant[len - 1] == '*';
        if (!(star && prefixes && len == 1) &&
            !thread_id_valid(grant, len - (star && prefixes)))
            abort();
    }
    if (count > GRANTS_MAX)
        abort();
}

/* Takes the reference. true: there was one, and it is in order. */
static bool check_identity(struct identity *id, bool ticket)
{
    if (!id)
        return false;
    if (!sub_valid(id->sub, strlen(id->sub)) || id->expires_ms <= TEST_NOW_MS ||
        id->life_ms <= 0 || id->everything || id->ticket != ticket ||
        (ticket ? id->write != NULL : id->owned != NULL) ||
        (ticket && identity_writes(id, "t1")))
        abort();
    check_list(id->read, !ticket);
    check_list(id->write, true);
    check_list(id->owned, false);
    identity_unref(id);
    return true;
}

static bool try_token(const struct keyset *set, const char *text, size_t len)
{
    struct jwt_rules rules = {.keys = set, .issuer = set == mixed};
    struct identity *id = NULL;
    const char *why = NULL;

    if (!jwt_verify(&rules, text, len, TEST_NOW_MS, &id, &why) && (id || !why))
        abort();
    return check_identity(id, false);
}

static void check_mixed(const char *text, size_t len)
{
    bool any = false;

    for (int i = 0; i < 4; i++)
        any |= try_token(sets[i], text, len);
    if (try_token(mixed, text, len) != any)
        mixed_differ = true;
}

static bool try_signed(const char *text, size_t len)
{
    const char *line = memchr(text, '\n', len);
    size_t header = line ? (size_t)(line - text) : len;
    struct buf b;
    bool ok;

    buf_init(&b);
    token_add(&b, keys[0], text, header, line ? line + 1 : "",
              line ? len - header - 1 : 0);
    ok = !b.failed && try_token(sets[0], b.data, b.len);
    if (!b.failed)
        check_mixed(b.data, b.len);
    buf_fini(&b);
    return ok;
}

static bool try_ticket(const char *text, size_t len)
{
    struct identity *id = NULL;
    const char *why = NULL;

    if (!ticket_verify(ticket_key, text, len, TEST_NOW_MS, &id, &why) && (id || !why))
        abort();
    return check_identity(id, true);
}

static bool try_signed_ticket(const char *text, size_t len)
{
    unsigned char mac[KEY_MAC_SIZE];
    struct buf b;
    bool ok;

    buf_init(&b);
    buf_str(&b, "t1.");
    base64url_encode(&b, text, len);
    ok = !b.failed && key_mac(ticket_key, b.data, b.len, mac);
    buf_char(&b, '.');
    base64url_encode(&b, mac, sizeof(mac));
    ok = ok && !b.failed && try_ticket(b.data, b.len);
    buf_fini(&b);
    return ok;
}

static bool try_cookie(const char *text, size_t len)
{
    static struct http_request r;

    r.header_count = 1;
    r.headers[0] = (struct http_header){{"Cookie", 6}, {text, len}};
    struct span found = cookie_session(&r);
    if (found.at && (found.at < text || found.at + found.len > text + len))
        abort();
    return found.at != NULL;
}

/* Written out again it must be the same site. */
static bool try_origin(const char *text, size_t len)
{
    struct site one, two;
    struct buf b;

    if (!site_parse((struct span){text, len}, &one))
        return false;
    buf_init(&b);
    buf_printf(&b, "%s://%s", one.scheme, one.host);
    if (one.port)
        buf_printf(&b, ":%u", one.port);
    if (b.failed || !site_parse((struct span){b.data, b.len}, &two) ||
        !site_equal(&one, &two))
        abort();
    buf_fini(&b);
    return true;
}

/* What decodes has exactly that text. */
static bool try_base64url(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n;
    struct buf b;
    bool ok = out && base64url_decode(text, len, out, len, &n);

    buf_init(&b);
    if (ok) {
        base64url_encode(&b, out, n);
        if (b.len != len || (len && memcmp(b.data, text, len) != 0))
            abort();
    }
    buf_fini(&b);
    free(out);
    return ok;
}

bool token_input(const char *data, size_t size)
{
    static const char kinds[] = "HRED";

    if (!keys[0])
        make_keys();
    if (!size)
        return false;
    const char *kind = *data ? strchr(kinds, *data) : NULL;
    char first = *data++;
    size--;
    if (kind) {
        check_mixed(data, size);
        return try_token(sets[kind - kinds], data, size);
    }
    switch (first) {
    case 'S':
        return try_signed(data, size);
    case 'T':
        return try_ticket(data, size);
    case 't':
        return try_signed_ticket(data, size);
    case 'C':
        return try_cookie(data, size);
    case 'O':
        return try_origin(data, size);
    case 'B':
        return try_base64url(data, size);
    default:
        return false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    token_input((const char *)data, size);
    if (mixed_differ)
        abort();
    return 0;
}
