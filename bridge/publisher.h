/* publisher: the bridge's Redis connection that publishes: outside events by publish.lua,
 * control hints, the canary. */
#ifndef THREADCAST_PUBLISHER_H
#define THREADCAST_PUBLISHER_H

#include "common/event.h"
#include "common/names.h"
#include "common/redis.h"

#include <stdbool.h>
#include <stddef.h>

struct bridge;
struct publisher;

struct publisher *publisher_new(struct bridge *b);
void publisher_free(struct publisher *p);
bool publisher_ready(const struct publisher *p);
struct redis *publisher_redis(struct publisher *p);

enum publish_outcome {
    PUBLISH_OK,       /* first and last id */
    PUBLISH_KEPT,     /* the same idempotency key was answered before: same ids */
    PUBLISH_CONFLICT, /* same key, other body */
    PUBLISH_TAKEN,    /* claims a run that a worker owns */
    PUBLISH_DOWN,     /* Redis away, refused (OOM, READONLY, …) or silent: try again */
};
struct publish_answer {
    enum publish_outcome outcome;
    struct event_id first, last;
    const char *detail; /* borrowed words for the log */
};
typedef void publish_fn(const struct publish_answer *answer, void *arg);

/* Publishes `count` events (JSON without id, as event_normalize makes them) in outside
 * mode. `run_ids`: the distinct runIds they claim, joined by a space, or "". once_hash:
 * 64 hex digits of the idempotency key, or NULL; body_hash likewise. Calls fn once. */
void publisher_events(struct publisher *p, const char *thread_id, const char *run_ids,
                      const char *once_hash, const char *body_hash,
                      const struct span *events, size_t count, publish_fn *fn, void *arg);

/* Ends a run for its silent publisher, with the attempt and the number that the state
 * has. PUBLISH_TAKEN: somebody else was faster. */
struct live_run;
void publisher_end(struct publisher *p, const char *thread_id, const struct live_run *run,
                   struct span event, publish_fn *fn, void *arg);

/* For what is neither an event nor a hint (revoke.c). */
struct redis *publisher_redis(struct publisher *p);

/* A hint on a channel (threadcast:control); nobody waits for it. */
void publisher_hint(struct publisher *p, const char *channel, const char *json);

/* Deletes the log and the state of a thread that is no more; nobody waits for it. */
void publisher_forget(struct publisher *p, const char *thread_id);

#endif
