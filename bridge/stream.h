/* stream: a request becomes a stream: positions are read, access was granted, limits are
 * met, then the socket leaves HTTP. Shared by the three routes that open streams. */
#ifndef THREADCAST_STREAM_H
#define THREADCAST_STREAM_H

#include "bridge/client.h"
#include "bridge/legacy_entry.h"
#include "bridge/legacy_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

#define STREAM_THREADS_MAX 32
#define STREAM_LAST_ID_SIZE LEGACY_PLACE_SIZE

/* Where to begin in one thread. */
struct stream_thread {
    char thread_id[THREAD_ID_MAX + 1];
    enum sub_since since;
    struct event_id pos;
    bool by_owner;
};

struct stream_plan {
    struct request *request; /* a reference */
    size_t count;
    bool merge;
    struct stream_manner manner;
    bool given;             /* the client said where it stands (an id) */
    char run_id[UUID_SIZE]; /* "": every run */
    int waiting;            /* access questions */
    bool denied, unknown;
    uint64_t owner_changes;            /* the bridge's count when access was asked for */
    bool ended;                        /* a run's stream: Postgres says it has ended */
    char older_id[LEGACY_ID_MAX + 1];  /* the older interface: this run; "": not */
    char last_id[STREAM_LAST_ID_SIZE]; /* and where its reader stands; "": nowhere */
    bool thread_granted;               /* and may read all of threads[0] */
    enum legacy_end older_end;         /* how their database says that it ended */
    void (*next)(struct stream_plan *plan); /* once access is granted */
    struct stream_thread threads[STREAM_THREADS_MAX];
};

/* Returns new, holding a reference to the request; NULL: answered. Reads ?merge=, ?ping=,
 * ?poll=. */
struct stream_plan *stream_plan_new(struct request *r);
void stream_plan_free(struct stream_plan *plan);

/* Last-Event-ID, else ?since=, for all threads of the plan. What cannot be understood
 * is a position we do not know: `reset`. */
void stream_positions(struct stream_plan *plan);

/* ?ping=1 and ?poll=<ms>. false: answered. (manner.c) */
bool stream_manner_read(struct request *r, struct stream_manner *ret);

/* Asks access for every thread, then calls plan->next, or refuses and frees the plan. */
void stream_admit(struct stream_plan *plan, void (*next)(struct stream_plan *plan));

/* Opens it and frees the plan. NULL: refused or gone (already answered). */
struct client *stream_open(struct stream_plan *plan);

/* The same without a place in the hub: its owner replays what there is and ends it. */
struct client *stream_open_detached(struct stream_plan *plan);

/* One run of ours, from its beginning: `plan->run_id` in threads[0], access granted.
 * (route_run_stream.c) */
void stream_run(struct stream_plan *plan);

/* A transient refusal: 200, `retry:`, `event: busy`, close. `why` is a literal. */
void stream_busy(struct request *r, const char *why);

#endif
