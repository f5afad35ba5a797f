/* ticket: see the header. Its key is another than the tokens', so that neither is ever
 * taken for the other. Nothing of the payload is read before the signature was checked.
 */
#include "bridge/ticket.h"

#include "bridge/base64url.h"
#include "bridge/claims.h"
#include "bridge/jwt.h" /* JWT_NO_MEMORY */
#include "bridge/keys.h"
#include "common/memory.h"

#include <string.h>

#define MARK "t1."

static void add_list(struct buf *out, const char *name, const char *const *list)
{
    buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; list && list[i]; i++) {
        if (i)
            buf_char(out, ',');
        buf_json(out, list[i], strlen(list[i]));
    }
    buf_char(out, ']');
}

static void add_text(struct buf *out, const char *name, const char *text)
{
    if (!text)
        return;
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, text, strlen(text));
}

bool ticket_make(const struct key *key, const struct ticket *t, struct buf *out)
{
    unsigned char mac[KEY_MAC_SIZE];
    size_t start = out->len;
    struct buf json;
    bool ok = false;

    buf_init(&json);
    buf_str(&json, "{\"sub\":");
    buf_json(&json, t->sub, strlen(t->sub));
    buf_printf(&json, ",\"iat\":%lld,\"exp\":%lld", (long long)t->issued_ms,
               (long long)t->expires_ms);
    add_list(&json, "read", t->granted);
    add_list(&json, "owned", t->owned);
    buf_printf(&json, ",\"end\":%lld,\"from\":%lld",
               (long long)(t->end_ms ? t->end_ms : t->expires_ms), (long long)t->from_ms);
    add_text(&json, "jti", t->jti);
    add_text(&json, "by", t->by);
    if (t->by)
        buf_printf(&json, ",\"byFrom\":%lld", (long long)t->by_from_ms);
    buf_char(&json, '}');
    buf_str(out, MARK);
    if (!json.failed)
        base64url_encode(out, json.data, json.len);
    if (json.failed || out->failed ||
        !key_mac(key, out->data + start, out->len - start, mac))
        goto done;
    buf_char(out, '.');
    base64url_encode(out, mac, sizeof(mac));
    ok = !out->failed && out->len - start <= TICKET_MAX;

done:
    buf_fini(&json);
    return ok;
}

/* -1: absent, which is what bridges before this made. */
static int64_t moment(const json_t *payload, const char *name)
{
    const json_t *value = json_object_get(payload, name);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static bool read_origin(const json_t *payload, struct identity *id)
{
    int64_t end = moment(payload, "end");

    id->ticket = true;
    if (end > id->expires_ms)
        id->end_ms = end;
    id->issued_ms = moment(payload, "from");
    id->by_issued_ms = moment(payload, "byFrom");
    return identity_name(json_object_get(payload, "jti"), &id->jti) &&
           identity_name(json_object_get(payload, "by"), &id->by) &&
           grants_parse(json_object_get(payload, "read"), false, &id->read) &&
           grants_parse(json_object_get(payload, "owned"), false, &id->owned);
}

/* From the payload of a ticket that is ours. Returns new, or NULL. */
static struct identity *read_payload(const char *text, size_t len)
{
    json_t *payload = claims_object(text, len);
    const json_t *sub = json_object_get(payload, "sub");
    int64_t exp = json_integer_value(json_object_get(payload, "exp"));
    int64_t iat = json_integer_value(json_object_get(payload, "iat"));
    struct identity *id = NULL;

    if (exp > 0 && iat > 0 && iat < exp)
        id =
            identity_new(json_string_value(sub), json_string_length(sub), exp, exp - iat);
    if (id && !read_origin(payload, id)) {
        identity_unref(id);
        id = NULL;
    }
    json_decref(payload);
    return id;
}

static bool verify(const struct key *key, const char *text, size_t len, int64_t now_ms,
                   struct identity **ret, const char **ret_why)
{
    unsigned char mac[KEY_MAC_SIZE];
    char payload[TICKET_MAX];
    size_t payload_len, mac_len, mark = strlen(MARK);
    const char *dot = len > mark && len <= TICKET_MAX && !memcmp(text, MARK, mark)
                          ? memchr(text + mark, '.', len - mark)
                          : NULL;

    *ret_why = "malformed";
    if (!dot || !base64url_decode(dot + 1, (size_t)(text + len - dot - 1), mac,
                                  sizeof(mac), &mac_len))
        return false;
    if (!key_verify(key, text, (size_t)(dot - text), mac, mac_len)) {
        *ret_why = "signature";
        return false;
    }
    if (!base64url_decode(text + mark, (size_t)(dot - text) - mark, payload,
                          sizeof(payload), &payload_len))
        return false;
    struct identity *id = read_payload(payload, payload_len);
    if (!id)
        return false;
    if (now_ms >= id->expires_ms) {
        *ret_why = "expired";
        identity_unref(id);
        return false;
    }
    *ret = id;
    return true;
}

bool ticket_verify(const struct key *key, const char *text, size_t len, int64_t now_ms,
                   struct identity **ret, const char **ret_why)
{
    memory_begin();
    if (verify(key, text, len, now_ms, ret, ret_why))
        return true;
    if (memory_short())
        *ret_why = JWT_NO_MEMORY;
    return false;
}
