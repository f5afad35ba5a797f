/* live: which runs of a thread are live in Redis, and whether their workers are. */
#ifndef THREADCAST_LIVE_H
#define THREADCAST_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader;

#define LIVE_RUNS_MAX 16  /* looked at of one thread; more are left for the next time */
#define LIVE_NAME_MAX 128 /* bytes of a run's or a worker's name that we understand */

struct live_run {
    char run_id[LIVE_NAME_MAX + 1], worker[LIVE_NAME_MAX + 1];
    int64_t attempt, next; /* as the state has them */
    bool silent;           /* its worker's key threadcast:worker:<worker> is gone */
};

/* `runs` is borrowed for the call; NULL: Redis did not answer. */
typedef void live_fn(const struct live_run *runs, size_t count, void *arg);

/* Calls fn exactly once, maybe at once. */
void live_ask(struct reader *r, const char *thread_id, live_fn *fn, void *arg);

#endif
