/* clients: what concerns all streams of a reactor. Lists are kept in the order of time,
 * so a tick looks only at those that are due; the slow scan (twice a second) is for what
 * has no order: joins that hang and tokens that end. */
#include "bridge/clients.h"

#include "bridge/access.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/hub.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/strmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 250,
    SCAN_TICKS = 2,
    DRAIN_STEP_MS = 20,
    WARN_MAX_MS = 60000,
    AGE_MAX_MS = 600000 /* an older `ts` is somebody's clock, not our latency */
};

static void keep_alive(struct clients *set)
{
    int64_t due = set->now_ms - set->bridge->conf->keepalive_ms;
    LIST_EACH(node, next, &set->quiet) {
        struct client *c = LIST_ITEM(node, struct client, quiet);
        if (c->wrote_ms > due)
            break;
        if (c->out.bytes)
            continue; /* blocked: the stall limit is its business */
        client_keepalive(c);
    }
}

static void cut_stalled(struct clients *set)
{
    int64_t due = set->now_ms - set->bridge->conf->write_stall_ms;
    LIST_EACH(node, next, &set->blocked) {
        struct client *c = LIST_ITEM(node, struct client, blocked);
        if (c->blocked_ms > due)
            break;
        client_close(c, CLOSE_STALLED);
    }
}

void client_refuse(struct client *c, const char *json)
{
    if (c->closed || c->ending)
        return;
    client_say(c, "busy", json, clients_retry_ms(c->set));
    c->set->bridge->stats.busy++;
    client_end(c, CLOSE_BUSY);
}

static void check_token(struct client *c)
{
    const struct identity *id = c->identity;
    int64_t left = id->expires_ms - c->set->wall_ms;
    int64_t warn = id->life_ms / 2 < WARN_MAX_MS ? id->life_ms / 2 : WARN_MAX_MS;
    char json[96];
    if (id->expires_ms == INT64_MAX)
        return;
    if (left <= 0) {
        client_say(c, "auth", "{\"reason\":\"the token has ended\"}", 0);
        client_end(c, CLOSE_TOKEN);
    } else if (left <= warn && !c->warned) {
        c->warned = true;
        snprintf(json, sizeof(json), "{\"expiresAt\":%" PRId64 "}", id->expires_ms);
        client_say(c, "auth", json, 0);
    }
}

static void scan(struct clients *set)
{
    LIST_EACH(node, next, &set->all) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->ending) {
            if (set->now_ms >= c->end_by_ms)
                client_close(c, c->reason);
            continue;
        }
        if (c->recheck)
            hub_recheck_client(set->bridge->hub, c);
        if (c->join_by_ms && set->now_ms >= c->join_by_ms)
            client_refuse(c, "{\"reason\":\"redis does not answer\"}");
        else
            check_token(c);
    }
}

static void on_tick(void *arg)
{
    struct clients *set = arg;
    set->now_ms = clock_ms();
    set->wall_ms = clock_wall_ms();
    keep_alive(set);
    cut_stalled(set);
    stats_observe(&set->bridge->stats.loop_lag, loop_lag_us(set->bridge->loop));
    if (++set->ticks % SCAN_TICKS == 0) {
        scan(set);
        hub_tick(set->bridge->hub);
    }
    timer_start(set->tick, TICK_MS);
}

static void say_bye(struct client *c)
{
    client_say(c, "bye", "{\"reason\":\"the server is going away\"}",
               clients_retry_ms(c->set));
    client_end(c, CLOSE_DRAIN);
}

/* Closes what a step's share is, so that the last goes when the time is over. */
static void on_drain(void *arg)
{
    struct clients *set = arg;
    int64_t steps = (set->drain_until_ms - clock_ms()) / DRAIN_STEP_MS;
    uint64_t share = steps > 0 ? set->bridge->stats.clients / (uint64_t)steps + 1
                               : set->bridge->stats.clients;
    LIST_EACH(node, next, &set->all) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->ending)
            continue;
        if (!share--)
            break;
        say_bye(c);
    }
    if (!clients_empty(set))
        timer_start(set->drain, DRAIN_STEP_MS);
}

void clients_drain(struct clients *set, int64_t ms)
{
    set->drain_until_ms = clock_ms() + ms;
    on_drain(set);
}

bool clients_empty(const struct clients *set)
{
    return list_empty(&set->all) && list_empty(&set->dead);
}

struct clients *clients_new(struct bridge *b)
{
    struct clients *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->bridge = b;
    list_init(&set->all);
    list_init(&set->dirty);
    list_init(&set->quiet);
    list_init(&set->blocked);
    list_init(&set->dead);
    set->now_ms = clock_ms();
    set->wall_ms = clock_wall_ms();
    set->tick = timer_new(b->loop, on_tick, set);
    set->drain = timer_new(b->loop, on_drain, set);
    set->by_address = strmap_new();
    set->by_sub = strmap_new();
    if (!set->tick || !set->drain || !set->by_address || !set->by_sub) {
        clients_free(set);
        return NULL;
    }
    timer_start(set->tick, TICK_MS);
    return set;
}

void clients_free(struct clients *set)
{
    if (!set)
        return;
    LIST_EACH(node, next, &set->all)
        client_close(LIST_ITEM(node, struct client, node), CLOSE_DRAIN);
    reaper_run(set);
    timer_free(set->tick);
    timer_free(set->drain);
    strmap_free(set->by_address);
    strmap_free(set->by_sub);
    free(set);
}

static uint64_t held(const struct strmap *map, const char *key)
{
    return (uintptr_t)strmap_get(map, key, strlen(key));
}

const char *clients_full(struct clients *set, const char *sub, const char *address)
{
    const struct bridge_conf *conf = set->bridge->conf;
    struct bridge_stats *stats = &set->bridge->stats;
    if (stats->clients >= (uint64_t)conf->max_clients) {
        stats->limit_clients++;
        return "too many streams";
    }
    if (conf->max_clients_per_ip &&
        held(set->by_address, address) >= (uint64_t)conf->max_clients_per_ip) {
        stats->limit_per_ip++;
        return "too many streams from this address";
    }
    if (conf->max_streams_per_user &&
        held(set->by_sub, sub) >= (uint64_t)conf->max_streams_per_user) {
        stats->limit_per_user++;
        return "too many streams of this user";
    }
    return NULL;
}

static void count(struct strmap *map, const char *key, int change)
{
    uintptr_t n = (uintptr_t)strmap_get(map, key, strlen(key)) + (uintptr_t)change;
    if (n)
        strmap_set(map, key, strlen(key), (void *)n);
    else
        strmap_remove(map, key, strlen(key));
}

void clients_count(struct clients *set, const struct client *c, int change)
{
    set->bridge->stats.clients += (uint64_t)change;
    if (c->address)
        count(set->by_address, c->address, change);
    if (c->identity)
        count(set->by_sub, c->identity->sub, change);
}

void clients_saw(struct clients *set, int64_t ts_ms)
{
    set->bridge->stats.events_out++;
    int64_t age = set->wall_ms - ts_ms; /* wall_ms may be a tick old */
    if (age > -AGE_MAX_MS && age < AGE_MAX_MS && set->turn_count < CLIENTS_TURN_EVENTS)
        set->turn_ts[set->turn_count++] = ts_ms;
}

void clients_flush(struct clients *set)
{
    struct list *node;
    set->now_ms = clock_ms();
    while ((node = list_pop(&set->dirty)))
        client_flush(LIST_ITEM(node, struct client, dirty));
    if (set->turn_count) {
        set->wall_ms = clock_wall_ms();
        for (uint32_t i = 0; i < set->turn_count; i++)
            stats_observe(&set->bridge->stats.publish_latency,
                          (set->wall_ms - set->turn_ts[i]) * 1000);
        set->turn_count = 0;
    }
}

int clients_cut(struct clients *set, const char *sub, const char *thread_id)
{
    int closed = 0;
    LIST_EACH(node, next, &set->all) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (strcmp(c->identity->sub, sub) != 0)
            continue;
        for (size_t i = 0; i < c->count; i++)
            if (c->subs[i].topic && !c->closed &&
                strcmp(c->subs[i].topic->thread_id, thread_id) == 0) {
                client_close(c, CLOSE_DEMO);
                closed++;
            }
    }
    return closed;
}

int64_t clients_retry_ms(const struct clients *set)
{
    return clock_jitter(set->bridge->conf->retry_ms);
}
