/* bridge: one reactor: a loop and everything that hangs on it. Nothing global, so that
 * several can run in one process, each with its own. */
#ifndef THREADCAST_BRIDGE_H
#define THREADCAST_BRIDGE_H

#include "bridge/conf.h"
#include "bridge/stats.h"
#include "common/list.h"
#include "common/names.h"

#include <stdbool.h>

struct auth;
struct clients;
struct feed;
struct hub;
struct listener;
struct owners;
struct loop;
struct pg;
struct pg_pool;
struct publisher;
struct reader;
struct rate;
struct redis;
struct statics;
struct strmap;
struct timer;
struct watch;

struct bridge {
    const struct bridge_conf *conf; /* borrowed */
    struct loop *loop;
    struct auth *auth;             /* borrowed: shared by reactors, immutable */
    const struct statics *statics; /* borrowed; NULL without --demo */
    struct listener *listener;
    struct pg_pool *pg;          /* NULL without DATABASE_URL */
    struct pg *pg_listen;        /* thread_changed notifications; NULL likewise */
    struct feed *feed;           /* subscriber connection */
    struct reader *reader;       /* reading connection: replay, cursors, state */
    struct publisher *publisher; /* publishing connection: POST …/events, canary */
    struct hub *hub;
    struct clients *clients; /* open streams */
    struct owners *owners;   /* changes of ownership; NULL without Postgres */
    struct list conns;      /* struct conn: HTTP connections (conn.c: conns_init/_fini) */
    struct list conns_dead; /* closed in this turn, freed at its end */
    size_t conn_count;
    struct strmap *questions; /* access.c: ownership asked for; NULL when there is none */
    uint64_t owner_changes;   /* access_changed was called so often */
    struct rate *guests;      /* route_session.c: new guests per address; NULL at first */
    struct bridge_stats stats;
    struct watch *watch; /* quiet threads */
    char instance[INSTANCE_SIZE];
    bool draining;
    struct list forgetting; /* threads whose keys are still to be deleted (forget.c) */
    size_t forgetting_count;
    struct timer *shutdown_delay, *drain_check;
    int64_t stop_at_ms;
};

struct bridge *bridge_new(const struct bridge_conf *conf, struct auth *auth,
                          const struct statics *statics, struct buf *err);
void bridge_free(struct bridge *b);
void bridge_run(struct bridge *b); /* returns after a drain */

#endif
