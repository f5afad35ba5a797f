/* clients: all open streams of one reactor: their limits, the end-of-turn flush, the
 * tick that keeps them alive or cuts them, the drain. */
#ifndef THREADCAST_CLIENTS_H
#define THREADCAST_CLIENTS_H

#include "bridge/block.h"
#include "bridge/client.h"
#include "bridge/merges.h"
#include "bridge/slice.h"
#include "common/list.h"

#include <stdbool.h>
#include <stdint.h>

struct bridge;
struct ears;
struct timer;

#define CLIENTS_TURN_EVENTS 256 /* latency samples of one turn */

struct clients {
    struct bridge *bridge;
    struct list all, quiet, blocked, dead;
    size_t dying;            /* of the dead those that still have their descriptor */
    struct list dirty, late; /* something to do at the end of this turn; or soon */
    uint32_t late_most;      /* of these in a turn */
    struct ears *ears;       /* of all */
    struct list tours;       /* walks over `all` that go on in the next turn (tour.c) */
    struct timer *tick, *drain;
    struct timer *again;     /* a turn follows at once: for what is late, or dead */
    struct block block;      /* of this flush */
    struct merges merges;    /* of this turn */
    int64_t now_ms, wall_ms; /* of this turn */
    int64_t drain_until_ms;
    uint64_t made, ticks;
    int64_t turn_ts[CLIENTS_TURN_EVENTS]; /* ts of the events of this turn */
    uint32_t turn_count;
    struct slice woken; /* in this turn: full sockets that take bytes again */
};

struct clients *clients_new(struct bridge *b);
void clients_free(struct clients *set);

void clients_flush(struct clients *set); /* end of the turn: one writev a client */
/* The only place where streams are freed: behind clients_flush, a few in a turn.
 * (reaper.c)
 */
#define REAPED_A_TURN 8 /* each is a descriptor closed and a line in the log, … */
#define REAPED_PART 32  /* … and this part of those that wait */
void reaper_run(struct clients *set, size_t most);
/* Another turn at once, behind what the sockets say. */
void clients_soon(struct clients *set);
void clients_saw(struct clients *set, int64_t ts_ms); /* an event came in, for latency */

/* Says `bye` to everybody, spread over ms; `done` when none is left is the caller's
 * business (clients_empty). */
void clients_drain(struct clients *set, int64_t ms);
bool clients_empty(const struct clients *set);

/* Closes the streams of `sub` on that thread without a word; returns how many. */
int clients_cut(struct clients *set, const char *sub, const char *thread_id);

/* A jittered `retry:` value in ms. */
int64_t clients_retry_ms(const struct clients *set);

#endif
