/* claims: what a token's payload says, once its signature is known to be good. */
#ifndef THREADCAST_CLAIMS_H
#define THREADCAST_CLAIMS_H

#include "bridge/identity.h"

#include <jansson.h>

#define CLAIMS_LEEWAY_MS 30000 /* clocks differ */

struct claims_rules {
    const char *audience, *issuer; /* NULL: not checked */
};

/* One JSON object of a token: at most 32 levels, no duplicate names, no NUL. Returns new,
 * or NULL. */
json_t *claims_object(const char *text, size_t len);

/* Returns a new identity; NULL: *ret_why is a stable word. */
struct identity *claims_check(const json_t *claims, const struct claims_rules *rules,
                              int64_t now_ms, const char **ret_why);

#endif
