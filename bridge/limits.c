/* limits: counts behind one lock. A place is checked and taken in one step, so that two
 * reactors cannot both give the last one away. */
#include "bridge/limits.h"

#include "bridge/conf.h"
#include "bridge/rate.h"
#include "common/strmap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ADMIN_ROOM = 32 }; /* for --admin-listen alone */

/* How many streams somebody has; gone with the last. */
struct limit_holder {
    size_t streams;
    char name[];
};

struct limits {
    const struct bridge_conf *conf;
    pthread_mutex_t lock;        /* of all below */
    size_t streams, connections; /* now */
    size_t closing;     /* streams that have left and still have their descriptor */
    size_t descriptors; /* limit of both together; 0: none */
    int reserves_lent;
    struct strmap *by_address, *by_user; /* struct limit_holder */
    size_t probes;
    struct rate *guests, *probing;
};

struct limits *limits_new(const struct bridge_conf *conf, size_t descriptors)
{
    struct limits *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->conf = conf;
    l->descriptors = descriptors;
    pthread_mutex_init(&l->lock, NULL);
    l->by_address = strmap_new_borrowing();
    l->by_user = strmap_new_borrowing();
    l->guests = rate_new();
    l->probing = rate_new();
    if (l->by_address && l->by_user && l->guests && l->probing)
        return l;
    limits_free(l);
    return NULL;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    strmap_free(l->by_address);
    strmap_free(l->by_user);
    rate_free(l->guests);
    rate_free(l->probing);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* --- streams ------------------------------------------------------------------------ */

static bool full(const struct strmap *map, const char *name, int64_t max)
{
    const struct limit_holder *h = max ? strmap_get(map, name, strlen(name)) : NULL;
    return h && h->streams >= (size_t)max;
}

static enum limit find_limit(const struct limits *l, const char *sub, const char *address)
{
    if (l->streams >= (size_t)l->conf->max_clients)
        return LIMIT_CLIENTS;
    if (full(l->by_address, address, l->conf->max_clients_per_ip))
        return LIMIT_ADDRESS;
    if (full(l->by_user, sub, l->conf->max_streams_per_user))
        return LIMIT_USER;
    return LIMIT_NONE;
}

/* NULL: no memory. */
static struct limit_holder *hold(struct strmap *map, const char *name)
{
    size_t len = strlen(name);
    struct limit_holder *h = strmap_get(map, name, len);

    if (!h) {
        h = malloc(sizeof(*h) + len + 1);
        if (!h)
            return NULL;
        h->streams = 0;
        memcpy(h->name, name, len + 1);
        if (!strmap_set(map, h->name, len, h)) {
            free(h);
            return NULL;
        }
    }
    h->streams++;
    return h;
}

static void let_go(struct strmap *map, struct limit_holder *h)
{
    if (!h || --h->streams)
        return;
    strmap_remove(map, h->name, strlen(h->name));
    free(h);
}

static void leave(struct limits *l, struct limit_seat *seat)
{
    l->streams--;
    let_go(l->by_address, seat->address);
    let_go(l->by_user, seat->user);
    *seat = (struct limit_seat){.taken = false};
}

void limits_seat_leave(struct limits *l, struct limit_seat *seat)
{
    if (!seat->taken)
        return;
    pthread_mutex_lock(&l->lock);
    leave(l, seat);
    seat->closing = true;
    l->closing++;
    pthread_mutex_unlock(&l->lock);
}

enum limit limits_seat_take(struct limits *l, const char *sub, const char *address,
                            bool anyway, struct limit_seat *ret)
{
    pthread_mutex_lock(&l->lock);
    enum limit met = anyway ? LIMIT_NONE : find_limit(l, sub, address);
    if (met == LIMIT_NONE) {
        l->streams++;
        *ret = (struct limit_seat){
            .taken = true,
            .address = hold(l->by_address, address),
            .user = hold(l->by_user, sub),
        };
        if (!anyway && (!ret->address || !ret->user)) {
            leave(l, ret);
            met = LIMIT_MEMORY;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return met;
}

void limits_seat_give(struct limits *l, struct limit_seat *seat)
{
    if (!seat->taken && !seat->closing)
        return;
    pthread_mutex_lock(&l->lock);
    if (seat->taken)
        leave(l, seat);
    else
        l->closing--;
    seat->closing = false;
    pthread_mutex_unlock(&l->lock);
}

size_t limits_streams(struct limits *l)
{
    pthread_mutex_lock(&l->lock);
    size_t count = l->streams;
    pthread_mutex_unlock(&l->lock);
    return count;
}

/* --- connections -------------------------------------------------------------------- */

static enum connection_room find_room(const struct limits *l, bool admin)
{
    size_t max = (size_t)l->conf->max_connections;

    /* as many again may still ask, to be told, or to become a stream; and the public door
     * must not shut the other one */
    if (l->connections >= 2 * max + (admin ? ADMIN_ROOM : 0))
        return ROOM_NONE;
    if (l->reserves_lent > 0)
        return ROOM_SCARCE;
    if (l->descriptors && l->connections + l->streams + l->closing >= l->descriptors)
        return ROOM_SCARCE;
    return l->connections >= max ? ROOM_SHORT : ROOM;
}

enum connection_room limits_connection_take(struct limits *l, bool admin)
{
    pthread_mutex_lock(&l->lock);
    enum connection_room room = find_room(l, admin);
    if (room != ROOM_NONE)
        l->connections++;
    pthread_mutex_unlock(&l->lock);
    return room;
}

void limits_connection_give(struct limits *l)
{
    pthread_mutex_lock(&l->lock);
    l->connections--;
    pthread_mutex_unlock(&l->lock);
}

void limits_reserve_lent(struct limits *l, int change)
{
    pthread_mutex_lock(&l->lock);
    l->reserves_lent += change;
    pthread_mutex_unlock(&l->lock);
}

enum probe_room limits_probe_take(struct limits *l, const char *address, int64_t now_ms)
{
    enum probe_room room = PROBE_FULL;

    pthread_mutex_lock(&l->lock);
    if (l->probes < (size_t)l->conf->max_probes) {
        bool may = rate_take(l->probing, address, l->conf->probes_per_min, now_ms);
        room = may ? PROBE_ROOM : PROBE_OFTEN;
        l->probes += may;
    }
    pthread_mutex_unlock(&l->lock);
    return room;
}

void limits_probe_give(struct limits *l)
{
    pthread_mutex_lock(&l->lock);
    l->probes--;
    pthread_mutex_unlock(&l->lock);
}

bool limits_guest(struct limits *l, const char *address, int64_t now_ms)
{
    pthread_mutex_lock(&l->lock);
    bool ok = rate_take(l->guests, address, l->conf->demo_sessions_per_min, now_ms);
    pthread_mutex_unlock(&l->lock);
    return ok;
}
