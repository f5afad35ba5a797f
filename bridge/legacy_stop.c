/* legacy_stop: STOP on both control channels, and the key that the newest worker polls.
 */
#include "bridge/legacy_stop.h"

#include "bridge/bridge.h"
#include "bridge/legacy_names.h"
#include "bridge/publisher.h"
#include "bridge/request.h"
#include "common/log.h"
#include "common/redis.h"

#include <stdlib.h>

struct stop {
    struct request *r; /* a reference */
    int waiting;
    bool failed;
};

static void one_less(struct stop *s)
{
    if (--s->waiting)
        return;
    if (s->failed)
        request_error(s->r, 503, "unavailable", "Redis does not answer, try again.");
    else
        request_json(s->r, 200, json_pack("{s:s}", "status", "stopped"));
    request_unref(s->r);
    free(s);
}

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct stop *s = arg;

    if (reply && reply->type == REDIS_FAILURE) {
        s->r->bridge->stats.redis_errors++;
        log_warn("command refused", LOG_S("reply", reply->str));
    }
    s->failed |= !reply || reply->type == REDIS_FAILURE;
    one_less(s);
}

static void sent(struct stop *s, bool ok)
{
    s->waiting += ok;
    s->failed |= !ok;
}

void legacy_stop(struct request *r)
{
    struct redis *redis = publisher_redis(r->bridge->publisher);
    const char *prefix = r->bridge->conf->redis_prefix;
    struct stop *s = calloc(1, sizeof(*s));
    char name[LEGACY_NAME_SIZE];

    if (!s) {
        request_error(r, 503, "unavailable", "Out of memory, try again.");
        return;
    }
    *s = (struct stop){.r = request_ref(r), .waiting = 1}; /* ours, until all are sent */
    legacy_name(name, prefix, LEGACY_KEY_STOP, r->param);
    sent(s, redis_sendv(redis, on_reply, s, "SET", name, "1", "EX", "300", NULL));
    legacy_name(name, prefix, LEGACY_CONTROL_CLASSIC, r->param);
    sent(s, redis_sendv(redis, on_reply, s, "PUBLISH", name, "STOP", NULL));
    legacy_name(name, prefix, LEGACY_CONTROL_NEWER, r->param);
    sent(s, redis_sendv(redis, on_reply, s, "PUBLISH", name, "STOP", NULL));
    one_less(s);
}
