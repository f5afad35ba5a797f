/* legacy_access: which run is meant, what is known of it, and may this identity have it?
 * A run belongs to its thread where that is known: our own row in Postgres, else theirs
 * (a view `older_runs` that the operator makes: id, thread_id, owner, status), else what
 * the run's first entries say. Otherwise, and besides, only a grant opens it that names
 * runs: `agent_run:<id>`, `agent_run:<prefix>*`, or `*`. */
#ifndef THREADCAST_LEGACY_ACCESS_H
#define THREADCAST_LEGACY_ACCESS_H

#include "bridge/access.h"
#include "bridge/legacy_entry.h"

#include <stdbool.h>

struct identity;
struct request;

#define LEGACY_TIME_SIZE 48

struct legacy_found {
    char thread_id[THREAD_ID_MAX + 1]; /* "": not known */
    bool ours;                         /* a row of our own: a worker of ours runs it */
    bool ended;                        /* ours: its end is in Postgres */
    bool by_owner;                     /* let in as the thread's owner */
    bool thread_granted;               /* may read all of the thread, not just this run */
    uint64_t owner_changes;            /* the bridge's count when access was asked for */
    enum legacy_end end;               /* as far as is known now */
    bool told;                         /* and that is what their database says */
    char started[LEGACY_TIME_SIZE], completed[LEGACY_TIME_SIZE]; /* "": not known */
    char error[256];                                             /* "": none */
};

/* r->param is the run, r->identity who asks. Calls fn when it may; else answers: 403,
 * the same for foreign and missing ones, or 503. `found` is borrowed. */
typedef void legacy_found_fn(struct request *r, const struct legacy_found *found);
void legacy_find(struct request *r, enum access_kind kind, legacy_found_fn *fn);

/* Does a grant name this run? ACCESS_READ: to read it; else to stop it. */
bool legacy_granted(const struct identity *id, const char *run_id, enum access_kind kind);

#endif
