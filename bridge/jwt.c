/* jwt: header.payload.signature → identity. In this order: length, shape, header (its
 * `alg` must be the key's, exactly), signature, and only then the payload is read. It
 * must never let the token choose how it is checked. */
#include "bridge/jwt.h"

#include "bridge/base64url.h"
#include "bridge/keys.h"
#include "common/event.h" /* struct span */

#include <string.h>

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

/* NULL: may go on. Otherwise why not. `typ`, `kid` and whatever else may stand there do
 * not matter; `crit` says that something does that we do not know. */
static const char *header_check(struct span segment, const struct key *key)
{
    json_t *header = segment_object(segment);
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const char *why = NULL;

    if (!header)
        return "malformed";
    if (json_object_get(header, "crit"))
        why = "critical";
    else if (!alg || strcmp(alg, key_alg(key)) != 0)
        why = "algorithm";
    json_decref(header);
    return why;
}

static const char *signature_check(const struct key *key, const char *token,
                                   const struct parts *p)
{
    unsigned char signature[JWT_MAX];
    size_t len;

    if (!base64url_decode(p->signature.at, p->signature.len, signature, sizeof(signature),
                          &len))
        return "malformed";
    return key_verify(key, token, p->signed_len, signature, len) ? NULL : "signature";
}

bool jwt_verify(const struct jwt_rules *rules, const char *token, size_t len,
                int64_t now_ms, struct identity **ret, const char **ret_why)
{
    struct identity *id = NULL;
    struct parts p;
    const char *why = NULL;

    if (len > JWT_MAX)
        why = "too_long";
    else if (!split(token, len, &p))
        why = "malformed";
    if (!why)
        why = header_check(p.header, rules->key);
    if (!why)
        why = signature_check(rules->key, token, &p);
    if (!why) {
        json_t *claims = segment_object(p.payload);
        why = "malformed";
        if (claims)
            id = claims_check(claims, &rules->claims, now_ms, &why);
        json_decref(claims);
    }
    if (!id) {
        *ret_why = why;
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
