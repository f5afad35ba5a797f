/* claims: from a verified payload to an identity. Every claim that we look at must have
 * its right type, or the token is refused: a misspelt expiry must not become none. */
#include "bridge/claims.h"

#include "common/json.h"
#include "common/utf8.h"

#include <string.h>

#define DEPTH_MAX 32
#define NUMBER_MAX (1ll << 53) /* what every JSON reader agrees on */

/* Levels are counted before parsing, because a parser spends its stack on them. */
static bool depth_fits(const char *text, size_t len)
{
    int depth = 0;
    bool string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (string && c == '\\')
            i++;
        else if (c == '"')
            string = !string;
        else if (!string && (c == '{' || c == '['))
            depth++;
        else if (!string && (c == '}' || c == ']'))
            depth--;
        if (depth > DEPTH_MAX)
            return false;
    }
    return true;
}

json_t *claims_object(const char *text, size_t len)
{
    json_t *value =
        depth_fits(text, len) ? json_read(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

/* A NumericDate as milliseconds. *ret is -1 when the claim is absent. false: malformed.
 */
static bool date(const json_t *claims, const char *name, int64_t *ret)
{
    const json_t *value = json_object_get(claims, name);

    *ret = -1;
    if (!value)
        return true;
    if (!json_is_integer(value))
        return false;
    json_int_t seconds = json_integer_value(value);
    if (seconds < 0 || seconds >= NUMBER_MAX)
        return false;
    *ret = seconds * 1000; /* fits: 2^53 * 1000 < 2^63 */
    return true;
}

struct dates {
    int64_t exp, iat;
};

static bool dates_check(const json_t *claims, int64_t now, struct dates *ret,
                        const char **ret_why)
{
    int64_t nbf;

    if (!date(claims, "exp", &ret->exp) || ret->exp <= 0 || !date(claims, "nbf", &nbf) ||
        !date(claims, "iat", &ret->iat)) {
        *ret_why = "dates";
        return false;
    }
    if (now >= ret->exp + CLAIMS_LEEWAY_MS) {
        *ret_why = "expired";
        return false;
    }
    if (nbf > now + CLAIMS_LEEWAY_MS || ret->iat > now + CLAIMS_LEEWAY_MS) {
        *ret_why = "not_yet";
        return false;
    }
    return true;
}

/* Is the claim `wanted`, or a list that has it? Well-formed even when nobody asks. */
static bool names(const json_t *value, const char *wanted, bool lists)
{
    bool found = !wanted;

    if (!value)
        return found;
    if (json_is_string(value))
        return found || !strcmp(json_string_value(value), wanted);
    if (!lists || !json_is_array(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_string(item))
            return false;
        found = found || !strcmp(json_string_value(item), wanted);
    }
    return found;
}

/* A right that is absent or true or false, and nothing else. */
static bool right(const json_t *value, bool *ret)
{
    *ret = json_is_true(value);
    return !value || json_is_boolean(value);
}

/* The next name of a path, its ~0 and ~1 replaced; *path moves behind it. false: an
 * escape that there is not, or too long. */
static bool path_step(const char **path, char name[CLAIMS_PATH_MAX + 1])
{
    const char *at = *path;
    size_t n = 0;
    bool pointer = *at == '/';

    if (pointer)
        at++;
    for (; *at && !(pointer && *at == '/'); at++) {
        char c = *at;
        if (pointer && c == '~') {
            at++;
            if (*at != '0' && *at != '1')
                return false;
            c = *at == '0' ? '~' : '/';
        }
        if (n == CLAIMS_PATH_MAX)
            return false;
        name[n++] = c;
    }
    name[n] = '\0';
    *path = at;
    return true;
}

bool claims_path_check(const char *path, struct buf *err)
{
    char name[CLAIMS_PATH_MAX + 1];
    size_t len = strlen(path);

    if (len < 1 || len > CLAIMS_PATH_MAX || !utf8_valid(path, len)) {
        buf_printf(err,
                   "must be a claim's name, or a JSON pointer that begins with /, of "
                   "1 to %d bytes",
                   CLAIMS_PATH_MAX);
        return false;
    }
    while (*path) {
        if (!path_step(&path, name) || !*name) {
            buf_str(err, "is no JSON pointer: names between slashes, ~1 for / and ~0 "
                         "for ~ in them");
            return false;
        }
    }
    return true;
}

/* What is there; NULL: nothing is. false: something on the way is no object. */
static bool find(const json_t *claims, const char *path, const json_t **ret)
{
    char name[CLAIMS_PATH_MAX + 1];

    *ret = claims;
    while (*path && *ret) {
        if (*ret != claims && json_is_null(*ret))
            *ret = NULL; /* what has no application metadata may say so */
        else if (!json_is_object(*ret) || !path_step(&path, name))
            return false;
        else
            *ret = json_object_get(*ret, name);
    }
    return true;
}

bool claims_put(json_t *claims, const char *path, json_t *value)
{
    char name[CLAIMS_PATH_MAX + 1];
    json_t *at = claims;

    while (path_step(&path, name)) {
        if (!*path && !json_object_get(at, name))
            return json_object_set_new(at, name, value) == 0;
        if (!*path)
            break;
        json_t *next = json_object_get(at, name);
        if (!next && json_object_set_new(at, name, json_object()) == 0)
            next = json_object_get(at, name);
        if (!json_is_object(next))
            break;
        at = next;
    }
    json_decref(value);
    return false;
}

bool claims_paths_fit(const char *sub, const char *grants)
{
    json_t *claims = json_pack("{s:i, s:i, s:i, s:s, s:s, s:s}", "iat", 0, "nbf", 0,
                               "exp", 0, "jti", "", "aud", "", "iss", "");
    bool fit = claims && claims_put(claims, sub, json_string("")) &&
               claims_put(claims, grants, json_object());

    json_decref(claims);
    return fit;
}

static bool grants(const json_t *claims, const char *path, struct identity *id)
{
    const json_t *claim;

    if (!find(claims, path ? path : CLAIMS_GRANTS, &claim))
        return false;
    const json_t *read = json_object_get(claim, "read");
    const json_t *write = json_object_get(claim, "write");

    if (!claim)
        return true;
    return json_is_object(claim) && (!read || grants_parse(read, true, &id->read)) &&
           (!write || grants_parse(write, true, &id->write)) &&
           right(json_object_get(claim, "revoke"), &id->may_revoke) &&
           right(json_object_get(claim, "tickets"), &id->may_ticket) &&
           right(json_object_get(claim, "probe"), &id->may_probe);
}

struct identity *claims_check(const json_t *claims, const struct claims_rules *rules,
                              int64_t now_ms, const char **ret_why)
{
    const json_t *sub;
    struct identity *id;
    struct dates d;

    if (!dates_check(claims, now_ms, &d, ret_why))
        return NULL;
    if (!names(json_object_get(claims, "aud"), rules->audience, true)) {
        *ret_why = "audience";
        return NULL;
    }
    if (!names(json_object_get(claims, "iss"), rules->issuer, false)) {
        *ret_why = "issuer";
        return NULL;
    }
    if (!find(claims, rules->sub ? rules->sub : CLAIMS_SUB, &sub)) {
        *ret_why = "subject";
        return NULL;
    }
    /* one that lives on leeway alone is not cut off in the turn that accepts it */
    int64_t end = d.exp > now_ms ? d.exp : d.exp + CLAIMS_LEEWAY_MS;
    int64_t begin = d.iat >= 0 && d.iat < now_ms ? d.iat : now_ms;
    id = identity_new(json_string_value(sub), json_string_length(sub), end, end - begin);
    if (!id) {
        *ret_why = "subject";
        return NULL;
    }
    id->issued_ms = d.iat;
    if (!grants(claims, rules->grants, id)) {
        identity_unref(id);
        *ret_why = "grants";
        return NULL;
    }
    if (!identity_name(json_object_get(claims, "jti"), &id->jti)) {
        identity_unref(id);
        *ret_why = "jti";
        return NULL;
    }
    return id;
}
