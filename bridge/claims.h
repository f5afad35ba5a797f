/* claims: what a token's payload says, once its signature is known to be good. */
#ifndef THREADCAST_CLAIMS_H
#define THREADCAST_CLAIMS_H

#include "bridge/identity.h"

#include <jansson.h>

#define CLAIMS_LEEWAY_MS 30000 /* clocks differ */

#define CLAIMS_PATH_MAX 256 /* bytes of a claim's path */
#define CLAIMS_GRANTS                                                                    \
    "threadcast" /* where grants are, unless the options say otherwise */

#define CLAIMS_SUB "sub" /* the same of the subject */

struct claims_rules {
    const char *audience, *issuer; /* NULL: not checked */
    const char *grants;            /* path of the grants; NULL: CLAIMS_GRANTS */
    const char *sub;               /* path of the subject; NULL: CLAIMS_SUB */
};

/* Where a claim is: its name as it stands, or, when it begins with '/', a JSON pointer
 * (RFC 6901) into objects. false: `err` says what is wrong with it. */
bool claims_path_check(const char *path, struct buf *err);
/* Puts `value` (taken) there, making the objects on the way. false: there is something
 * else in the way, or no memory. */
bool claims_put(json_t *claims, const char *path, json_t *value);

/* Can a token of ours hold both, beside the claims that every token has? */
bool claims_paths_fit(const char *sub, const char *grants);

/* One JSON object of a token: at most 32 levels, no duplicate names, no NUL. Returns new,
 * or NULL. */
json_t *claims_object(const char *text, size_t len);

/* Returns a new identity; NULL: *ret_why is a stable word. */
struct identity *claims_check(const json_t *claims, const struct claims_rules *rules,
                              int64_t now_ms, const char **ret_why);

#endif
