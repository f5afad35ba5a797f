/* run_state: what Redis knows of one run: live, ended, and whether its log is still
 * whole. */
#ifndef THREADCAST_RUN_STATE_H
#define THREADCAST_RUN_STATE_H

#include "common/names.h"

#include <stdbool.h>

struct reader;

struct run_state {
    bool ok; /* false: Redis did not answer */
    bool live, ended;
    bool held;                  /* its first entry is in the log, so all of it is */
    struct event_id began, end; /* as far as known */
    struct event_id tail;       /* of the log, read before the rest */
};
typedef void run_state_fn(const struct run_state *state, void *arg);

/* Calls fn exactly once, maybe at once. */
void run_state_ask(struct reader *r, const char *thread_id, const char *run_id,
                   run_state_fn *fn, void *arg);

#endif
