/* store: the worker's statements, one function each. Everything about attempts and
 * leases is decided inside Postgres (db/0001_init.sql); here are only parameters. */
#ifndef THREADCAST_WORKER_STORE_H
#define THREADCAST_WORKER_STORE_H

#include "common/buf.h"
#include "common/names.h"
#include "common/pg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker;

/* Columns of a claim's rows. */
enum store_claim {
    CLAIM_RUN,
    CLAIM_THREAD,
    CLAIM_MESSAGE,
    CLAIM_REPLY,
    CLAIM_AGENT,
    CLAIM_INPUT,
    CLAIM_ATTEMPT,
    CLAIM_CANCELLED,
    CLAIM_CONTENT,
    CLAIM_METADATA,
    CLAIM_TAKEN_OVER,
};
/* Columns of an unpublished end. */
enum store_end {
    END_RUN,
    END_THREAD,
    END_REPLY,
    END_ATTEMPT,
    END_SEQ,
    END_EVENTS,
    END_CONTENT,
};

/* What finish_run writes. Strings are copied. */
struct store_finish {
    const char *run_id;
    int64_t attempt;
    const char *status, *content, *metadata, *author, *events;
    int64_t seq;
    const char *error, *usage, *stats; /* JSON or NULL */
};

/* Columns of a requeue's answer. */
enum store_requeue { REQUEUE_OUTCOME, REQUEUE_DELAY };
/* Columns of runs that wait and of which readers do not know yet. */
enum store_queued {
    QUEUED_RUN,
    QUEUED_THREAD,
    QUEUED_REPLY,
    QUEUED_AGENT,
    QUEUED_WAITS,
};

/* A growing list of runs with their attempts, as array parameters. */
struct store_runs {
    struct buf ids, attempts;
    size_t count;
};
void store_runs_init(struct store_runs *r);
void store_runs_add(struct store_runs *r, const char *run_id, int64_t attempt);
void store_runs_fini(struct store_runs *r);

/* All: false when the statement could not even be queued (`fn` is then not called). */
bool store_claim(struct worker *w, size_t n, bool expired, pg_fn *fn, void *arg);
bool store_next_claim(struct worker *w, pg_fn *fn, void *arg);
bool store_renew(struct worker *w, struct store_runs *r, pg_fn *fn, void *arg);
bool store_hand_back(struct worker *w, struct store_runs *r, pg_fn *fn, void *arg);
/* Of the runs only the ids matter: those the worker knows that it has. */
bool store_hand_back_others(struct worker *w, struct store_runs *r, pg_fn *fn, void *arg);
bool store_finish(struct worker *w, const struct store_finish *f, pg_fn *fn, void *arg);
bool store_requeue(struct worker *w, const char *run_id, int64_t attempt, pg_fn *fn,
                   void *arg);
bool store_say_queued(struct worker *w, size_t n, int64_t after_ms, pg_fn *fn, void *arg);
bool store_register_worker(struct worker *w, const char *standard, const char *agents,
                           pg_fn *fn, void *arg);
bool store_forget_worker(struct worker *w, pg_fn *fn, void *arg);
bool store_prune(struct worker *w, size_t n, pg_fn *fn, void *arg);
/* The number of ends to be published again, now that Redis is this one. */
bool store_recall_ends(struct worker *w, const char *redis, pg_fn *fn, void *arg);
bool store_ends(struct worker *w, size_t n, pg_fn *fn, void *arg);
bool store_mark(struct worker *w, const char *run_id, pg_fn *fn, void *arg);
bool store_history(struct worker *w, const char *thread_id, const char *message_id,
                   pg_fn *fn, void *arg);

#endif
