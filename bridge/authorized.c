/* authorized: see the header. What is misspelt is no answer: a grant is never guessed,
 * and an end never left out. */
#include "bridge/authorized.h"

#include "bridge/claims.h"

#define EXP_MAX (1ll << 53) /* seconds that every JSON reader agrees on */

/* Unix seconds, as in a token; absent: no longer than it may be kept. false: malformed,
 * or over. */
static bool read_end(const json_t *exp, int64_t now_ms, int64_t max_ms, int64_t *ret)
{
    *ret = now_ms + max_ms;
    if (!exp)
        return true;
    if (!json_is_integer(exp) || json_integer_value(exp) >= EXP_MAX ||
        json_integer_value(exp) <= now_ms / 1000)
        return false;
    *ret = json_integer_value(exp) * 1000;
    return true;
}

static bool read_list(const json_t *list, char ***ret)
{
    return !list || grants_parse(list, true, ret);
}

static struct identity *read_identity(const json_t *answer, int64_t now_ms,
                                      int64_t max_ms)
{
    const json_t *sub = json_object_get(answer, "sub");
    struct identity *id = NULL;
    int64_t end;

    if (read_end(json_object_get(answer, "exp"), now_ms, max_ms, &end))
        id = identity_new(json_string_value(sub), json_string_length(sub), end,
                          end - now_ms);
    if (!id)
        return NULL;
    id->foreign = true;
    id->issued_ms = now_ms;
    if (read_list(json_object_get(answer, "read"), &id->read) &&
        read_list(json_object_get(answer, "write"), &id->write))
        return id;
    identity_unref(id);
    return NULL;
}

enum authorize_state authorized_read(int status, const char *body, size_t len,
                                     int64_t now_ms, int64_t max_ms,
                                     struct identity **ret, int64_t *ret_until_ms)
{
    struct identity *id;
    json_t *answer;

    if (status == 401)
        return AUTHORIZE_UNAUTHORIZED;
    if (status == 403)
        return AUTHORIZE_FORBIDDEN;
    answer = status == 200 ? claims_object(body, len) : NULL;
    id = answer ? read_identity(answer, now_ms, max_ms) : NULL;
    json_decref(answer);
    if (!id)
        return AUTHORIZE_FAILED;
    *ret = id;
    *ret_until_ms = id->expires_ms < now_ms + max_ms ? id->expires_ms : now_ms + max_ms;
    return AUTHORIZE_YES;
}
