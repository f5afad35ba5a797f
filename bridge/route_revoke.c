/* route_revoke: POST /v1/revoke: what was issued to a subject, or one token, is refused
 * from now on, everywhere. Only for who has the right by name. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/request.h"
#include "bridge/revoke.h"
#include "bridge/revoked.h"
#include "bridge/routes.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>

struct wish {
    struct request *r;
    struct revocation revocation;
};

/* It stands in Redis; here it counts at once. */
static void revoked_now(struct wish *w)
{
    struct request *r = w->r;
    struct bridge *b = r->bridge;
    const struct revocation *v = &w->revocation;
    int64_t until = v->before_ms + b->conf->revocation_ttl_s * 1000;

    revoked_add(b->revoked, v, 0); /* else the hint brings it */
    revoke_sweep(b);
    b->stats.revocations_made++;
    log_info("revoked", LOG_S("by", r->identity->sub), LOG_S("what", v->name));
    request_json(r, 200,
                 json_pack("{s:s, s:I, s:I}", v->name[0] == 's' ? "sub" : "jti",
                           v->name + 2, "before", (json_int_t)(v->before_ms / 1000),
                           "until", (json_int_t)until));
}

static void on_stored(enum revoke_outcome outcome, void *arg)
{
    struct wish *w = arg;

    switch (outcome) {
    case REVOKE_OK:
        revoked_now(w);
        break;
    case REVOKE_FULL:
        request_error(w->r, 503, "too_many_revocations",
                      "no more can be revoked: see --max-revocations");
        break;
    case REVOKE_DOWN:
        request_error(w->r, 503, "unavailable", "Redis does not take it now, try again.");
        break;
    }
    request_unref(w->r);
    free(w);
}

static void revoke(struct request *r, const struct revocation *v)
{
    struct wish *w = malloc(sizeof(*w));

    if (!w || !r->bridge->revoked) {
        request_error(r, 503, "unavailable", "It cannot be done now, try again.");
        free(w);
        return;
    }
    *w = (struct wish){request_ref(r), *v};
    revoke_store(r->bridge, v, on_stored, w);
}

void route_revoke(struct request *r)
{
    const char *why = "";
    struct revocation v;

    if (!auth_require(r, false))
        return;
    if (!r->identity->may_revoke) {
        r->bridge->stats.access_denied++;
        request_error(r, 403, "forbidden", "this token may not revoke");
        return;
    }
    json_t *body = request_body_object(r);
    if (!body)
        return;
    if (revocation_parse(body, clock_wall_ms(), &v, &why))
        revoke(r, &v);
    else
        request_error(r, 400, "bad_revocation", why);
    json_decref(body);
}
