/* stats: the worker's numbers, as /metrics shows them. */
#ifndef THREADCAST_WORKER_STATS_H
#define THREADCAST_WORKER_STATS_H

#include "common/stats.h"

#include <stdint.h>

/* Names that Redis' error replies begin with; the last, NULL, stands for all others. */
#define WORKER_REDIS_ERRORS 12
extern const char *const worker_redis_errors[WORKER_REDIS_ERRORS];

struct worker_stats {
    uint64_t claimed, taken_over, claim_errors, notifies, polls;
    uint64_t runs_done, runs_failed, runs_cancelled, runs_handed_back, runs_dropped;
    uint64_t runs_live, runs_closing;
    uint64_t events, tokens, begun_anew;
    uint64_t publish_results[7]; /* by enum publish_result */
    uint64_t redis_errors[WORKER_REDIS_ERRORS];
    uint64_t redis_lost, postgres_lost;
    uint64_t paused;    /* agents, because Redis did not take their events */
    uint64_t too_large; /* runs that passed run-max-bytes */
    uint64_t too_many;  /* runs that passed run-max-events */
    uint64_t timed_out, runs_requeued;
    uint64_t queued_said, released, pruned_runs, pruned_messages, pruned_keys;
    uint64_t ends_swept, ends_lost, ends_recalled;
    uint64_t agent_bad_lines, agent_log_dropped, agent_after_end, agent_foreign_lines;
    uint64_t agent_limit_time, agent_limit_cpu, agent_limit_memory, agent_limit_output;
    uint64_t agent_limit_flood, agent_held_up, agent_stuck;
    uint64_t agent_processes_started, agent_processes_lost, agent_orphans_killed;
    uint64_t reloads[2]; /* of the agents: done, refused */
    uint64_t provider_requests, provider_retries, provider_failures;
    uint64_t provider_limits, provider_timeouts, provider_after_end;
    uint64_t log_dropped, loop_max_lag_us;
    struct stats_histogram first_token; /* from the claim to Redis' answer */
    struct stats_histogram publish;     /* a call until it is answered */
};

extern const struct stats_row worker_stats_rows[];
extern const size_t worker_stats_count;

#endif
