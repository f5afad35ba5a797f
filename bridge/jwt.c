/* jwt: header.payload.signature → identity. In this order: length, shape, header,
 * signature, and only then the payload is read. `alg` and `kid` of the header choose
 * among the keys that there are; a key is only ever used for its own algorithm, so a
 * token cannot choose how it is checked. */
#include "bridge/jwt.h"

#include "bridge/base64url.h"
#include "bridge/keys.h"
#include "bridge/keyset.h"
#include "common/event.h" /* struct span */
#include "common/memory.h"

#include <string.h>

const char JWT_UNKNOWN_KEY[] = "unknown_key", JWT_NO_MEMORY[] = "memory";

struct parts {
    struct span header, payload, signature;
    size_t signed_len; /* header and payload with the dot between */
};

/* Exactly three segments, none of them empty. */
static bool split(const char *token, size_t len, struct parts *ret)
{
    const char *end = token + len;
    const char *first = memchr(token, '.', len);
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;

    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return false;
    ret->header = (struct span){token, (size_t)(first - token)};
    ret->payload = (struct span){first + 1, (size_t)(second - first - 1)};
    ret->signature = (struct span){second + 1, (size_t)(end - second - 1)};
    ret->signed_len = (size_t)(second - token);
    return ret->header.len && ret->payload.len && ret->signature.len;
}

/* The JSON object in a segment. Returns new, or NULL. */
static json_t *segment_object(struct span segment)
{
    char text[JWT_MAX];
    size_t len;

    if (!base64url_decode(segment.at, segment.len, text, sizeof(text), &len))
        return NULL;
    return claims_object(text, len);
}

struct header {
    char alg[16];
    char kid[KID_MAX + 1];
    bool named; /* it has a kid */
};

/* NULL: may go on. Otherwise why not. `typ` and whatever else may stand there do not
 * matter; `crit` says that something does that we do not know. */
static const char *header_read(struct span segment, struct header *ret)
{
    json_t *header = segment_object(segment);
    const json_t *kid = json_object_get(header, "kid");
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const char *why = NULL;

    if (!header)
        return "malformed";
    if (json_object_get(header, "crit"))
        why = "critical";
    else if (!alg || strlen(alg) >= sizeof(ret->alg))
        why = "algorithm";
    else if (kid && (!json_is_string(kid) || json_string_length(kid) > KID_MAX))
        why = "malformed";
    if (!why) {
        memcpy(ret->alg, alg, strlen(alg) + 1);
        ret->named = kid != NULL;
        memcpy(ret->kid, kid ? json_string_value(kid) : "", json_string_length(kid) + 1);
    }
    json_decref(header);
    return why;
}

/* Could an issuer have a key for it that we do not know? */
static bool may_be_issued(const struct jwt_rules *rules, const struct header *h)
{
    static const char *const algs[] = {"RS256", "ES256", "EdDSA"};
    bool issuable = false;

    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
        issuable = issuable || !strcmp(h->alg, algs[i]);
    if (!rules->issuer || !issuable)
        return false;
    return h->named ? !keyset_knows(rules->keys, h->kid) : !keyset_issued(rules->keys);
}

static const char *signature_check(const struct jwt_rules *rules, const struct header *h,
                                   const char *token, const struct parts *p)
{
    unsigned char signature[JWT_MAX];
    const struct key *key;
    bool tried = false;
    size_t len, pos = 0;

    if (!base64url_decode(p->signature.at, p->signature.len, signature, sizeof(signature),
                          &len))
        return "malformed";
    while ((key = keyset_find(rules->keys, h->alg, h->named ? h->kid : NULL, &pos))) {
        if (key_verify(key, token, p->signed_len, signature, len))
            return NULL;
        tried = true;
    }
    if (may_be_issued(rules, h))
        return JWT_UNKNOWN_KEY;
    return tried ? "signature" : "algorithm";
}

bool jwt_verify(const struct jwt_rules *rules, const char *token, size_t len,
                int64_t now_ms, struct identity **ret, const char **ret_why)
{
    struct identity *id = NULL;
    struct header header;
    struct parts p;
    const char *why = NULL;

    memory_begin();
    if (len > JWT_MAX)
        why = "too_long";
    else if (!split(token, len, &p))
        why = "malformed";
    if (!why)
        why = header_read(p.header, &header);
    if (!why)
        why = signature_check(rules, &header, token, &p);
    if (!why) {
        json_t *claims = segment_object(p.payload);
        why = "malformed";
        if (claims)
            id = claims_check(claims, &rules->claims, now_ms, &why);
        json_decref(claims);
    }
    if (!id) {
        *ret_why = memory_short() ? JWT_NO_MEMORY : why;
        return false;
    }
    *ret = id;
    return true;
}

bool jwt_sign(const struct key *key, const char *claims, size_t len, struct buf *out)
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    unsigned char mac[KEY_MAC_SIZE];
    size_t start = out->len;

    base64url_encode(out, header, sizeof(header) - 1);
    buf_char(out, '.');
    base64url_encode(out, claims, len);
    if (out->failed || !key_mac(key, out->data + start, out->len - start, mac))
        return false;
    buf_char(out, '.');
    base64url_encode(out, mac, sizeof(mac));
    return !out->failed;
}
