/* legacy: channels of older runs → their readers. A message is only ever a hint to read
 * (what it says on a control channel apart): the list is the truth. */
#include "bridge/legacy.h"

#include "bridge/bridge.h"
#include "bridge/legacy_stream.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/strmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct legacy {
    struct bridge *bridge;
    struct redis *redis;
    struct strmap *runs; /* id → struct legacy_run */
    struct list waiting; /* struct legacy_stream.line */
    int64_t reads;       /* under way */
    bool down;           /* said so */
};

static void run_subscribe(struct legacy_run *run)
{
    struct legacy *l = run->legacy;
    char name[LEGACY_NAME_SIZE];

    if (redis_state(l->redis) != REDIS_READY)
        return;
    for (int i = LEGACY_KEYS; i < LEGACY_NAMES; i++) {
        size_t len = legacy_name(name, l->bridge->conf->redis_prefix, (enum legacy_name)i,
                                 run->id);
        run->asked += redis_subscribe(l->redis, name, len);
    }
    run->subscribed = !run->asked; /* a limit was met: its readers look by themselves */
}

static void run_unsubscribe(struct legacy_run *run)
{
    struct legacy *l = run->legacy;
    char name[LEGACY_NAME_SIZE];

    for (int i = LEGACY_KEYS; i < LEGACY_NAMES; i++) {
        size_t len = legacy_name(name, l->bridge->conf->redis_prefix, (enum legacy_name)i,
                                 run->id);
        redis_unsubscribe(l->redis, name, len);
    }
}

/* Gone when nobody reads it, but not before its SUBSCRIBEs were answered: the answers
 * could else be taken for those of a later one. */
static void run_settle(struct legacy_run *run)
{
    struct legacy *l = run->legacy;

    if (!list_empty(&run->streams) || run->asked)
        return;
    if (run->subscribed)
        run_unsubscribe(run);
    strmap_remove(l->runs, run->id, strlen(run->id));
    free(run);
}

static struct legacy_run *run_new(struct legacy *l, const char *run_id)
{
    size_t len = strlen(run_id);
    struct legacy_run *run = calloc(1, sizeof(*run) + len + 1);

    if (!run)
        return NULL;
    run->legacy = l;
    list_init(&run->streams);
    memcpy(run->id, run_id, len + 1);
    if (!strmap_set(l->runs, run->id, len, run)) {
        free(run);
        return NULL;
    }
    run_subscribe(run);
    return run;
}

/* --- news -----------------------------------------------------------------------------
 */

static void on_ready(struct redis *r, void *arg)
{
    struct legacy *l = arg;
    struct legacy_run *run;
    size_t pos = 0;

    l->down = false;
    log_info("subscriber of the older interface connected",
             LOG_S("redis", redis_version(r)), LOG_I("reactor", l->bridge->number));
    while ((run = strmap_next(l->runs, &pos, NULL)))
        run_subscribe(run);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    (void)r;
    struct legacy *l = arg;
    struct legacy_run *run;
    size_t pos = 0;

    l->bridge->stats.redis_down++;
    if (!l->down) /* once, not at every try to come back */
        log_warn("subscriber of the older interface lost", LOG_S("why", why),
                 LOG_I("reactor", l->bridge->number));
    l->down = true;
    while ((run = strmap_next(l->runs, &pos, NULL))) {
        run->asked = 0;
        run->subscribed = false;
        run_settle(run);
    }
}

static struct legacy_run *find(struct legacy *l, const char *channel, size_t len,
                               enum legacy_name *ret_which)
{
    size_t id_len;
    const char *id = legacy_run_of_channel(l->bridge->conf->redis_prefix, channel, len,
                                           &id_len, ret_which);

    return id ? strmap_get(l->runs, id, id_len) : NULL;
}

static void answered(struct legacy_run *run)
{
    if (!run || !run->asked || --run->asked)
        return;
    run->subscribed = true;
    LIST_EACH(node, next, &run->streams)
        legacy_stream_wake(LIST_ITEM(node, struct legacy_stream, node));
    run_settle(run);
}

static void on_subscribed(struct redis *r, const char *channel, size_t len, void *arg)
{
    (void)r;
    enum legacy_name which;

    answered(find(arg, channel, len, &which));
}

/* This user may not hear that channel; the reader looks by itself now and then. */
static void on_refused(struct redis *r, const char *channel, size_t len, const char *why,
                       void *arg)
{
    (void)r;
    struct legacy *l = arg;
    enum legacy_name which;

    l->bridge->stats.redis_errors++;
    log_error("redis refused a subscription", LOG_S("why", why));
    answered(find(l, channel, len, &which));
}

static void on_message(struct redis *r, const char *channel, size_t channel_len,
                       const char *data, size_t len, void *arg)
{
    (void)r;
    enum legacy_name which;
    struct legacy_run *run = find(arg, channel, channel_len, &which);
    enum legacy_word word = LEGACY_NO_WORD;

    if (!run)
        return;
    if (which == LEGACY_CONTROL_CLASSIC || which == LEGACY_CONTROL_NEWER)
        word = legacy_word_read(data, len);
    LIST_EACH(node, next, &run->streams) {
        struct legacy_stream *s = LIST_ITEM(node, struct legacy_stream, node);
        if (word != LEGACY_NO_WORD)
            legacy_stream_word(s, word);
        legacy_stream_wake(s);
    }
}

/* --- for its owner --------------------------------------------------------------------
 */

static struct legacy *legacy_new(struct bridge *b)
{
    static const struct redis_events events = {.on_ready = on_ready,
                                               .on_down = on_down,
                                               .on_subscribed = on_subscribed,
                                               .on_message = on_message,
                                               .on_refused = on_refused};
    struct legacy *l = calloc(1, sizeof(*l));
    char name[64];
    struct redis_options o = {.url = &b->conf->redis,
                              .name = name,
                              .tls_ca_file = b->conf->tls_ca_file,
                              .subscriber = true};

    if (!l)
        return NULL;
    l->bridge = b;
    list_init(&l->waiting);
    snprintf(name, sizeof(name), "threadcast-bridge:%s:older", b->instance);
    l->runs = strmap_new_borrowing();
    l->redis = l->runs ? redis_new(b->loop, &o, &events, l) : NULL;
    if (l->redis)
        return l;
    legacy_free(l);
    return NULL;
}

void legacy_free(struct legacy *l)
{
    struct legacy_run *run;
    size_t pos = 0;

    if (!l)
        return;
    if (l->redis)
        redis_free(l->redis);
    while (l->runs && (run = strmap_next(l->runs, &pos, NULL)))
        free(run);
    strmap_free(l->runs);
    free(l);
}

struct legacy_run *legacy_join(struct bridge *b, const char *run_id,
                               struct legacy_stream *s)
{
    struct legacy_run *run;

    if (!b->legacy && !(b->legacy = legacy_new(b)))
        return NULL;
    run = strmap_get(b->legacy->runs, run_id, strlen(run_id));
    if (!run && !(run = run_new(b->legacy, run_id)))
        return NULL;
    list_push(&run->streams, &s->node);
    return run;
}

void legacy_leave(struct legacy_run *run, struct legacy_stream *s)
{
    list_remove(&s->node);
    run_settle(run);
}

bool legacy_read_begin(struct legacy *l, struct legacy_stream *s)
{
    list_remove(&s->line);
    if (l->reads >= l->bridge->conf->replay_concurrency) {
        list_push(&l->waiting, &s->line);
        return false;
    }
    l->reads++;
    return true;
}

void legacy_read_end(struct legacy *l)
{
    struct list *node;

    l->reads--;
    while (l->reads < l->bridge->conf->replay_concurrency &&
           (node = list_pop(&l->waiting)))
        legacy_stream_more(LIST_ITEM(node, struct legacy_stream, line));
}

/* Who waits is popped by the loop above, which this may be inside of; otherwise nobody
 * does: the line is empty whenever there is a turn to take. */
void legacy_read_unsent(struct legacy *l)
{
    l->reads--;
}
