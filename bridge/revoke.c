/* revoke: Redis ─▶ revoked ─▶ the streams of every reactor.
 *
 *   POST /v1/revoke ─▶ revoke.lua: hash, count of changes, hint on the bridges' channel
 *   every bridge:      hint, or every 2 s the count ─▶ changed? the whole hash ─▶ sweep
 *
 * The count is the truth, the hint makes it fast; nothing in a hint is believed. A bridge
 * never forgets a revocation because Redis did: what Redis has lost is stored again. */
#include "bridge/revoke.h"

#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/extension.h"
#include "bridge/feed.h"
#include "bridge/publisher.h"
#include "bridge/reader.h"
#include "bridge/renew.h"
#include "bridge/revoked.h"
#include "bridge/round.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "revoke_lua.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "threadcast:revoked"
#define HINT "{\"type\":\"revoked\"}"
#define KEY_SIZE (NAMES_PREFIX_MAX + 32)

enum {
    POLL_MS = 2000,
    FIRST_MS = 50,     /* until it has been read once, and while streams are missed */
    HINT_MS = 100,     /* many hints, one reading: it is of the whole hash */
    RESTORE_MAX = 500, /* at one reading; the next one is due at once then */
    NUMBER_SIZE = 24,
};

struct revoker {
    struct bridge *bridge;
    struct timer *poll;
    bool asking;         /* a command is under way */
    bool hinted;         /* since it was sent */
    uint64_t swept;      /* version of the set when the streams were last looked at */
    bool refused;        /* said so */
    bool unstored;       /* what Redis has lost could not be stored again: said so */
    int64_t changes;     /* the count, as we know it */
    uint64_t reconnects; /* of the reading connection then */
    uint64_t round;      /* of reading */
    char key[KEY_SIZE];
};

/* --- the streams -------------------------------------------------------------------- */

static void sweep_one(struct round_part *part)
{
    struct bridge *b = part->bridge;

    if (b->clients)
        LIST_EACH(node, next, &b->clients->all) {
            struct client *c = LIST_ITEM(node, struct client, node);
            if (!c->ending && revoked_covers(b->revoked, c->identity))
                renew_end(c, "revoked", CLOSE_REVOKED);
        }
    round_answer(part);
}

bool revoke_sweep(struct bridge *b)
{
    static const struct round_kind kind = {.bounded = true, .each = sweep_one};
    return round_ask(b, &kind, NULL, NULL);
}

/* Also what a route of any reactor has added. false: some could not be asked now. */
static bool sweep(struct revoker *v)
{
    uint64_t version = revoked_version(v->bridge->revoked);

    if (version != v->swept && revoke_sweep(v->bridge))
        v->swept = version;
    return version == v->swept;
}

/* --- storing ------------------------------------------------------------------------ */

struct call {
    struct bridge *bridge;
    revoke_fn *fn;
    void *arg;
};

static void call_end(struct call *c, enum revoke_outcome outcome)
{
    if (c->fn)
        c->fn(outcome, c->arg);
    free(c);
}

/* What could not be stored is still missing: all is read once more, at the next poll. */
static void on_restored(enum revoke_outcome outcome, void *arg)
{
    struct bridge *b = arg;
    struct revoker *v = b->revoker;

    if (!v || outcome == REVOKE_FULL)
        return;
    if (outcome == REVOKE_DOWN)
        v->changes = -1;
    if (outcome == REVOKE_DOWN && !v->unstored)
        log_error("revocations that Redis has lost cannot be stored again now");
    v->unstored = outcome == REVOKE_DOWN;
}

static void on_stored(struct redis *redis, const struct redis_reply *reply, void *arg)
{
    struct call *c = arg;

    (void)redis;
    if (reply && reply->type == REDIS_INTEGER) {
        call_end(c, REVOKE_OK);
        return;
    }
    if (reply && redis_is_error(reply, "FULL")) {
        c->bridge->stats.limit_revocations++;
        call_end(c, REVOKE_FULL);
        return;
    }
    if (reply) {
        c->bridge->stats.redis_errors++;
        if (c->fn != on_restored) /* they would be many, and come again */
            log_warn("revocation refused", LOG_S("reply", reply->str ? reply->str : ""));
    }
    call_end(c, REVOKE_DOWN);
}

static bool send_script(struct call *c, const struct revocation *r)
{
    const struct bridge_conf *conf = c->bridge->conf;
    int64_t keep_ms = conf->revocation_ttl_s * 1000;
    char key[KEY_SIZE], channel[KEY_SIZE];
    char before[NUMBER_SIZE], gone[NUMBER_SIZE], max[NUMBER_SIZE], keep[NUMBER_SIZE];

    snprintf(key, sizeof(key), "%s" KEY, conf->redis_prefix);
    snprintf(channel, sizeof(channel), "%s" FEED_BRIDGES_CHANNEL, conf->redis_prefix);
    snprintf(before, sizeof(before), "%lld", (long long)r->before_ms);
    snprintf(gone, sizeof(gone), "%lld", (long long)(clock_wall_ms() - keep_ms));
    snprintf(max, sizeof(max), "%lld", (long long)conf->max_revocations);
    snprintf(keep, sizeof(keep), "%lld", (long long)keep_ms);
    return publisher_ready(c->bridge->publisher) &&
           redis_sendv(publisher_redis(c->bridge->publisher), on_stored, c, "EVAL",
                       revoke_lua, "1", key, r->name, before, gone, max, keep, channel,
                       HINT, NULL);
}

void revoke_store(struct bridge *b, const struct revocation *r, revoke_fn *fn, void *arg)
{
    struct call *c = malloc(sizeof(*c));

    if (!c) {
        if (fn)
            fn(REVOKE_DOWN, arg);
        return;
    }
    *c = (struct call){b, fn, arg};
    if (!send_script(c, r))
        call_end(c, REVOKE_DOWN);
}

/* --- reading ------------------------------------------------------------------------ */

static void later(struct revoker *v)
{
    bool first = !revoked_known(v->bridge->revoked) || !sweep(v);

    v->asking = false;
    timer_start(v->poll, first ? FIRST_MS : v->hinted ? HINT_MS : POLL_MS);
}

static int64_t number(const struct redis_reply *reply, int64_t otherwise)
{
    char text[NUMBER_SIZE], *end;
    long long n;

    if (reply->type != REDIS_STRING || !reply->len || reply->len >= sizeof(text))
        return otherwise;
    memcpy(text, reply->str, reply->len);
    text[reply->len] = '\0';
    n = strtoll(text, &end, 10);
    return *end ? otherwise : n;
}

/* What Redis has lost, or never had: it went back in time, we do not. */
static void restore(struct revoker *v)
{
    struct revocation r;
    int count = 0;

    while (count < RESTORE_MAX && revoked_missing(v->bridge->revoked, v->round, &r)) {
        revoke_store(v->bridge, &r, on_restored, v->bridge);
        count++;
    }
    if (count && !v->unstored)
        log_warn("revocations were missing in Redis", LOG_I("count", count));
}

/* A field that is no revocation is none of ours; one without a readable moment counts
 * until now. */
static enum revoked_news read_field(struct revoker *v, const struct redis_reply *name,
                                    const struct redis_reply *moment)
{
    int64_t now = clock_wall_ms();
    struct revocation r;

    if (name->len < 3 || name->str[1] != ':' ||
        !revocation_set(&r, name->str[0], name->str + 2, name->len - 2,
                        number(moment, now)) ||
        r.before_ms < now - v->bridge->conf->revocation_ttl_s * 1000)
        return REVOKED_OLD;
    return revoked_add(v->bridge->revoked, &r, v->round);
}

static bool read_all(struct revoker *v, const struct redis_reply *hash)
{
    int64_t changes = 0;
    bool complete = true;

    v->round++;
    for (size_t i = 0; i + 1 < hash->count; i += 2) {
        const struct redis_reply *name = hash->items[i], *value = hash->items[i + 1];
        if (name->len == 1 && name->str[0] == 'n') {
            changes = number(value, 0);
            continue;
        }
        complete &= read_field(v, name, value) != REVOKED_NO_MEMORY;
    }
    if (!complete)
        return false;
    v->changes = changes;
    revoked_set_known(v->bridge->revoked);
    restore(v);
    return true;
}

/* Once, and not at every poll. */
static void cannot_read(struct revoker *v, const struct redis_reply *reply)
{
    v->bridge->stats.redis_errors++;
    if (!v->refused)
        log_error("revocations cannot be read", LOG_S("reply", reply->str));
    v->refused = true;
}

static void on_all(struct redis *redis, const struct redis_reply *reply, void *arg)
{
    struct revoker *v = arg;

    if (reply && reply->type == REDIS_ARRAY) {
        v->reconnects = redis_reconnects(redis);
        if (!read_all(v, reply))
            v->changes = -1; /* once more */
        v->refused = false;
    } else if (reply) {
        cannot_read(v, reply);
    }
    later(v);
}

static void on_changes(struct redis *redis, const struct redis_reply *reply, void *arg)
{
    struct revoker *v = arg;

    bool same = reply && revoked_known(v->bridge->revoked) &&
                number(reply, 0) == v->changes &&
                redis_reconnects(redis) == v->reconnects;

    if (reply && reply->type == REDIS_FAILURE)
        cannot_read(v, reply);
    else if (reply && !same && redis_sendv(redis, on_all, v, "HGETALL", v->key, NULL))
        return;
    later(v);
}

static void on_poll(void *arg)
{
    struct revoker *v = arg;
    struct redis *redis = reader_redis(v->bridge->reader);

    if (v->asking)
        return;
    revoked_purge(v->bridge->revoked, clock_wall_ms());
    v->bridge->stats.revocations = revoked_count(v->bridge->revoked);
    v->hinted = false;
    v->asking = true;
    if (!redis || !redis_sendv(redis, on_changes, v, "HGET", v->key, "n", NULL))
        later(v);
}

static void on_hint(struct bridge *b, const char *data, size_t len)
{
    struct revoker *v = b->revoker;

    if (len == strlen(HINT) && memcmp(data, HINT, len) == 0) {
        if (!v->hinted && !v->asking)
            timer_start(v->poll, HINT_MS);
        v->hinted = true;
    } else {
        extension_hear(b, data, len);
    }
}

struct revoker *revoker_new(struct bridge *b)
{
    struct revoker *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->bridge = b;
    v->changes = -1;
    snprintf(v->key, sizeof(v->key), "%s" KEY, b->conf->redis_prefix);
    v->poll = timer_new(b->loop, on_poll, v);
    if (!v->poll) {
        free(v);
        return NULL;
    }
    b->on_hint = on_hint;
    timer_start(v->poll, FIRST_MS);
    return v;
}

void revoker_free(struct revoker *v)
{
    if (!v)
        return;
    v->bridge->on_hint = NULL;
    timer_free(v->poll);
    free(v);
}
