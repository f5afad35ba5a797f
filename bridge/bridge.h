/* bridge: one reactor: a loop and everything that hangs on it. Several run in one process
 * (reactors.h), each on its own thread; none looks into another. */
#ifndef THREADCAST_BRIDGE_H
#define THREADCAST_BRIDGE_H

#include "bridge/conf.h"
#include "bridge/reactors.h"
#include "bridge/slice.h"
#include "bridge/stats.h"
#include "common/list.h"
#include "common/mailbox.h"
#include "common/names.h"

#include <stdatomic.h>
#include <stdbool.h>

struct auth;
struct authorize;
struct clients;
struct feed;
struct gather;
struct hub;
struct keyring;
struct keywait;
struct legacy;
struct limits;
struct listener;
struct owners;
struct loop;
struct pg;
struct pg_pool;
struct publisher;
struct reactors;
struct reader;
struct redis;
struct revoked;
struct revoker;
struct statics;
struct strmap;
struct timer;
struct watch;

struct bridge {
    struct reactors *reactors; /* all of them */
    unsigned number;           /* among them, from 0 */
    /* borrowed from there: immutable, or safe from any thread */
    const struct bridge_conf *conf;
    const struct statics *statics;      /* NULL without --demo */
    const struct statics *client_files; /* NULL: none are installed */
    struct limits *limits;
    struct gather *gather;
    struct revoked *revoked; /* NULL with --auth none */
    struct loop *loop;
    struct auth *auth;           /* its own, with the keys that all have */
    struct keyring *keyring;     /* keeps those up to date; number 0's alone */
    struct authorize *authorize; /* NULL without --authorize-url */
    struct keywait *keywait;     /* requests that wait for an issuer's keys */
    struct mailbox *mailbox;     /* letters of the other reactors */
    struct letter empty;         /* to number 0: the drain is over here */
    uint32_t
        unanswered[REACTORS_MAX]; /* parts of our rounds, by who has them (round.c) */
    struct listener *listener, *admin; /* the latter NULL without --admin-listen */
    struct pg_pool *pg;                /* NULL without DATABASE_URL */
    struct pg *pg_listen;        /* thread_changed notifications; number 0's alone */
    struct feed *feed;           /* subscriber connection */
    struct reader *reader;       /* reading connection: replay, cursors, state */
    struct publisher *publisher; /* publishing connection: POST …/events, canary */
    struct hub *hub;
    struct clients *clients; /* open streams */
    struct legacy *legacy;   /* readers of older runs; NULL until there is one */
    struct owners *owners;   /* changes of ownership; number 0's alone */
    struct revoker *revoker; /* keeps `revoked` as Redis has it; number 0's alone */
    /* What another bridge says on FEED_BRIDGES_CHANNEL; number 0's alone. (revoke.c) */
    void (*on_hint)(struct bridge *b, const char *data, size_t len);
    struct list conns;      /* struct conn: HTTP connections (conn.c: conns_init/_fini) */
    struct list conns_dead; /* closed in this turn, freed at its end */
    struct list conns_line; /* those that a turn had no time for, in their order */
    atomic_uint arriving;   /* connections on their way here; from any thread */
    atomic_bool hears;      /* its subscriptions stand; for any thread */
    size_t conn_count;
    struct slice slice;       /* of this turn: steps of connections */
    struct strmap *questions; /* access.c: ownership asked for; NULL when there is none */
    uint64_t owner_changes;   /* access_changed was called so often */
    struct bridge_stats stats;
    struct watch *watch;              /* quiet threads */
    char instance[INSTANCE_SIZE + 3]; /* the process's, and the number: "6f1c…-0" */
    bool draining;                    /* SIGTERM has come: /readyz says no */
    bool leaving;                     /* accepts no more, begins no stream */
    struct list probes;               /* streams of /v1/probe (probe.c) */
    struct list forgetting; /* threads whose keys are still to be deleted (forget.c) */
    size_t forgetting_count;
    struct timer *shutdown_delay, *drain_check;
    int64_t stop_at_ms;
};

/* Where all reactors listen; `admin` may be NULL. */
struct bridge_places {
    const char *listen, *admin;
};

/* Number `number` of rs. Returns new, or NULL with `err`. */
struct bridge *bridge_new(struct reactors *rs, size_t number,
                          const struct bridge_places *at, struct buf *err);
/* From its own thread: goes through a drain, then calls reactors_empty. */
void bridge_drain(struct bridge *b);
/* Its loop has ended: ends connections; who still waits for an answer gets none. */
void bridge_close(struct bridge *b);
void bridge_free(struct bridge *b); /* behind bridge_close */

#endif
