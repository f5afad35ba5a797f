/* control: a subscriber connection for one channel. A lost hint costs nothing: Postgres
 * keeps the request and every renewal brings it. */
#include "worker/control.h"

#include "common/json.h"
#include "common/log.h"
#include "common/names.h"
#include "common/redis.h"
#include "worker/conf.h"
#include "worker/run.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct control {
    struct worker *w;
    struct redis *redis;
    char channel[NAMES_PREFIX_MAX + 32];
    bool warned, refused; /* said so, since it last worked */
};

enum { HINT_MAX_BYTES = 1024 };

bool control_parse(const char *json, size_t len, char out_run_id[UUID_SIZE])
{
    json_t *root = NULL;
    const char *type, *id;
    bool ok;

    if (len <= HINT_MAX_BYTES)
        root = json_read(json, len, JSON_REJECT_DUPLICATES, NULL);
    type = json_string_value(json_object_get(root, "type"));
    id = json_string_value(json_object_get(root, "runId"));
    ok = type && id && strcmp(type, "cancel") == 0 && uuid_valid(id, strlen(id));
    if (ok)
        snprintf(out_run_id, UUID_SIZE, "%s", id);
    json_decref(root);
    return ok;
}

static void on_message(struct redis *r, const char *channel, size_t channel_len,
                       const char *data, size_t len, void *arg)
{
    struct control *c = arg;
    char id[UUID_SIZE];
    struct run *run;

    (void)r, (void)channel, (void)channel_len;
    if (!control_parse(data, len, id))
        return; /* other kinds of hints, of later versions */
    run = worker_run(c->w, id);
    if (run)
        run_cancel(run);
}

static void on_ready(struct redis *r, void *arg)
{
    struct control *c = arg;

    if (!redis_subscribe(r, c->channel, strlen(c->channel)))
        redis_drop(r, "it takes no subscription");
}

static void on_subscribed(struct redis *r, const char *channel, size_t len, void *arg)
{
    struct control *c = arg;

    (void)r, (void)channel, (void)len;
    c->warned = c->refused = false;
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    struct control *c = arg;

    if (!c->warned || (redis_refusal(r) && !c->refused))
        log_warn("redis lost", LOG_S("connection", "control"), LOG_S("why", why));
    c->warned = true;
    c->refused |= redis_refusal(r) != NULL;
}

struct control *control_new(struct worker *w)
{
    static const struct redis_events events = {.on_ready = on_ready,
                                               .on_down = on_down,
                                               .on_subscribed = on_subscribed,
                                               .on_message = on_message};
    struct control *c = calloc(1, sizeof(*c));
    char name[64];
    struct redis_options o = {.url = &w->conf->redis,
                              .name = name,
                              .tls_ca_file = w->conf->tls_ca_file,
                              .subscriber = true};

    if (!c)
        return NULL;
    c->w = w;
    snprintf(c->channel, sizeof(c->channel), "%sthreadcast:control",
             w->conf->redis_prefix);
    snprintf(name, sizeof(name), "threadcast-worker:%s:control", w->instance);
    c->redis = redis_new(w->loop, &o, &events, c);
    if (!c->redis) {
        free(c);
        return NULL;
    }
    return c;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    redis_free(c->redis);
    free(c);
}
