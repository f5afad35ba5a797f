/* clients: what concerns all streams of a reactor. Lists are kept in the order of time,
 * so a tick looks only at those that are due; the slow scan (twice a second) is for what
 * has no order: joins that hang and tokens that end. */
#include "bridge/clients.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/ears.h"
#include "bridge/hub.h"
#include "bridge/renew.h"
#include "bridge/sub.h"
#include "bridge/tour.h"
#include "common/clock.h"
#include "common/loop.h"

#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 250,
    SCAN_TICKS = 2,
    AT_ONCE = 64,     /* keepalives, cuts: the rest waits for others */
    LATE_A_TURN = 32, /* full sockets: the rest, too */
    SOON_MS = 2,
    DRAIN_STEP_MS = 20,
    AGE_MAX_MS = 600000 /* an older `ts` is somebody's clock, not our latency */
};

/* true: of all that were due. */
static bool keep_alive(struct clients *set)
{
    int left = AT_ONCE;
    int64_t due = set->now_ms - set->bridge->conf->keepalive_ms;
    LIST_EACH(node, next, &set->quiet) {
        struct client *c = LIST_ITEM(node, struct client, waits);
        if (c->wrote_ms > due)
            break;
        if (c->out.bytes || c->silent)
            continue; /* it is about to be written to, or its silence is meant */
        if (!left--)
            return false;
        client_keepalive(c);
    }
    return true;
}

static bool cut_stalled(struct clients *set)
{
    int left = AT_ONCE;
    int64_t due = set->now_ms - set->bridge->conf->write_stall_ms;
    LIST_EACH(node, next, &set->blocked) {
        struct client *c = LIST_ITEM(node, struct client, waits);
        if (c->wrote_ms > due)
            break;
        if (!left--)
            return false;
        client_close(c, CLOSE_STALLED);
    }
    return true;
}

void client_refuse(struct client *c, const char *json)
{
    if (c->closed || c->ending)
        return;
    client_say(c, "busy", json, clients_retry_ms(c->set));
    c->set->bridge->stats.busy++;
    client_end(c, CLOSE_BUSY);
}

static void say_bye(struct client *c, const char *json, enum close_reason reason)
{
    client_say(c, "bye", json, clients_retry_ms(c->set));
    client_end(c, reason);
}

/* Streams that were opened together must not all come back together: each lives between
 * nine tenths of the limit and the whole. Its number decides, so that nothing is kept. */
static bool is_old(const struct client *c)
{
    int64_t limit = c->set->bridge->conf->max_stream_age_ms;
    uint64_t spread = (c->number * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
    int64_t less = (int64_t)(spread % (uint64_t)(limit / 10 + 1));
    return limit && c->set->now_ms - c->opened_ms >= limit - less;
}

/* Its time is over, and not because others were before it in the line. */
static bool cannot_join(const struct client *c)
{
    if (!c->by_ms || c->set->now_ms < c->by_ms)
        return false;
    for (size_t i = 0; i < c->count; i++)
        if (!sub_expects(&c->subs[i]))
            return true;
    return false;
}

static void scan(struct clients *set)
{
    LIST_EACH(node, next, &set->all) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->ending) {
            if (set->now_ms >= c->by_ms)
                client_close(c, c->reason);
            continue;
        }
        client_poll(c);
        if (c->recheck)
            hub_recheck_client(set->bridge->hub, c);
        if (cannot_join(c))
            client_refuse(c, "{\"reason\":\"redis does not answer\"}");
        else if (is_old(c))
            say_bye(c, "{\"reason\":\"this connection is old\"}", CLOSE_AGED);
        else
            renew_check(c);
    }
}

static void on_tick(void *arg)
{
    struct clients *set = arg;
    set->now_ms = clock_ms();
    set->wall_ms = clock_wall_ms();
    bool cut = cut_stalled(set), kept = keep_alive(set);
    if (!cut || !kept) {
        timer_start(set->tick, SOON_MS);
        return;
    }
    stats_observe(&set->bridge->stats.loop_lag, loop_lag_us(set->bridge->loop));
    if (++set->ticks % SCAN_TICKS == 0) {
        scan(set);
        hub_tick(set->bridge->hub);
    }
    timer_start(set->tick, TICK_MS);
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
        say_bye(c, "{\"reason\":\"the server is going away\"}", CLOSE_DRAIN);
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

/* Nothing to be done here: the end of this turn does it. */
static void on_again(void *arg)
{
    (void)arg;
}

void clients_soon(struct clients *set)
{
    if (!timer_running(set->again))
        timer_start(set->again, 0);
}

struct clients *clients_new(struct bridge *b)
{
    struct clients *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->bridge = b;
    list_init(&set->all);
    list_init(&set->dirty);
    list_init(&set->late);
    set->late_most = LATE_A_TURN;
    list_init(&set->quiet);
    list_init(&set->blocked);
    list_init(&set->dead);
    list_init(&set->tours);
    set->now_ms = clock_ms();
    set->wall_ms = clock_wall_ms();
    set->tick = timer_new(b->loop, on_tick, set);
    set->drain = timer_new(b->loop, on_drain, set);
    set->again = timer_new(b->loop, on_again, set);
    set->ears = ears_new(b->loop, client_hear);
    if (!set->tick || !set->drain || !set->again || !set->ears) {
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
    tours_end(set);
    LIST_EACH(node, next, &set->all)
        client_close(LIST_ITEM(node, struct client, node), CLOSE_DRAIN);
    reaper_run(set, SIZE_MAX);
    merges_clear(&set->merges);
    block_fini(&set->block);
    ears_free(set->ears);
    timer_free(set->tick);
    timer_free(set->drain);
    timer_free(set->again);
    free(set);
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
    slice_end(&set->woken);
    merges_clear(&set->merges);
    while ((node = list_pop(&set->dirty)))
        client_flush(LIST_ITEM(node, struct client, dirty));
    for (uint32_t i = 0; i < set->late_most && (node = list_pop(&set->late)); i++)
        client_flush(LIST_ITEM(node, struct client, dirty));
    if (!list_empty(&set->late) || !list_empty(&set->dirty))
        clients_soon(set);
    block_clear(&set->block);
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
