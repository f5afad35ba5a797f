/* stats: one row a number. */
#include "worker/stats.h"

#include <stddef.h>

const char *const worker_redis_errors[WORKER_REDIS_ERRORS] = {
    "NOSCRIPT", "READONLY", "OOM",        "MISCONF",    "LOADING",    "NOPERM",
    "NOAUTH",   "BUSY",     "NOREPLICAS", "MASTERDOWN", "THREADCAST", NULL};

#define AT(field) offsetof(struct worker_stats, field)
#define COUNTER(name, labels, help, field)                                               \
    {                                                                                    \
        "threadcast_worker_" name, labels, help, STATS_COUNTER, AT(field)                \
    }
#define GAUGE(name, help, field)                                                         \
    {                                                                                    \
        "threadcast_worker_" name, NULL, help, STATS_GAUGE, AT(field)                    \
    }
#define HISTOGRAM(name, help, field)                                                     \
    {                                                                                    \
        "threadcast_worker_" name, NULL, help, STATS_HISTOGRAM_US, AT(field)             \
    }
#define REDIS_ERROR(name, i)                                                             \
    COUNTER("redis_errors_total", "name=\"" name "\"", NULL, redis_errors[i])

const struct stats_row worker_stats_rows[] = {
    COUNTER("claimed_total", NULL, "Runs taken from the queue.", claimed),
    COUNTER("taken_over_total", NULL, "Of them, those whose worker was lost.",
            taken_over),
    COUNTER("claim_errors_total", NULL, "Claims that PostgreSQL did not answer.",
            claim_errors),
    COUNTER("notifies_total", NULL, "Notifications from PostgreSQL.", notifies),
    COUNTER("polls_total", NULL, "Looks at the queue without one.", polls),
    COUNTER("runs_total", "outcome=\"done\"", "Runs that left this worker.", runs_done),
    COUNTER("runs_total", "outcome=\"failed\"", NULL, runs_failed),
    COUNTER("runs_total", "outcome=\"cancelled\"", NULL, runs_cancelled),
    COUNTER("runs_total", "outcome=\"handed_back\"", NULL, runs_handed_back),
    COUNTER("runs_total", "outcome=\"dropped\"", NULL, runs_dropped),
    GAUGE("runs", "Runs at work.", runs_live),
    GAUGE("runs_closing", "Runs whose end is being published.", runs_closing),
    COUNTER("events_total", NULL, "Events published.", events),
    COUNTER("tokens_total", NULL, "Pieces of text that agents made.", tokens),
    COUNTER("begun_anew_total", NULL, "Times that a run was published anew, folded.",
            begun_anew),
    COUNTER("publish_total", "result=\"ok\"", "Answers of publish.lua.",
            publish_results[0]),
    COUNTER("publish_total", "result=\"fenced\"", NULL, publish_results[1]),
    COUNTER("publish_total", "result=\"ended\"", NULL, publish_results[2]),
    COUNTER("publish_total", "result=\"lost\"", NULL, publish_results[3]),
    COUNTER("publish_total", "result=\"gap\"", NULL, publish_results[4]),
    COUNTER("publish_total", "result=\"taken\"", NULL, publish_results[5]),
    COUNTER("publish_total", "result=\"refused\"", NULL, publish_results[6]),
    COUNTER("redis_errors_total", "name=\"NOSCRIPT\"", "Error replies of Redis.",
            redis_errors[0]),
    REDIS_ERROR("READONLY", 1),
    REDIS_ERROR("OOM", 2),
    REDIS_ERROR("MISCONF", 3),
    REDIS_ERROR("LOADING", 4),
    REDIS_ERROR("NOPERM", 5),
    REDIS_ERROR("NOAUTH", 6),
    REDIS_ERROR("BUSY", 7),
    REDIS_ERROR("NOREPLICAS", 8),
    REDIS_ERROR("MASTERDOWN", 9),
    REDIS_ERROR("THREADCAST", 10),
    REDIS_ERROR("other", 11),
    COUNTER("redis_lost_total", NULL, "Publishing connections lost.", redis_lost),
    COUNTER("postgres_lost_total", NULL, "LISTEN connections lost.", postgres_lost),
    COUNTER("paused_total", NULL, "Agents held back because Redis was slow.", paused),
    COUNTER("runs_too_large_total", NULL, "Runs that passed --run-max-bytes.", too_large),
    COUNTER("runs_too_many_events_total", NULL, "Runs that passed --run-max-events.",
            too_many),
    COUNTER("runs_requeued_total", NULL, "Runs to be tried again after a pause.",
            runs_requeued),
    COUNTER("queued_said_total", NULL, "Runs whose readers were told that they wait.",
            queued_said),
    COUNTER("runs_released_total", NULL, "Waiting runs that only housekeeping let go.",
            released),
    COUNTER("pruned_total", "what=\"runs\"", "Rows that had become too old.",
            pruned_runs),
    COUNTER("pruned_total", "what=\"messages\"", NULL, pruned_messages),
    COUNTER("pruned_total", "what=\"idempotency\"", NULL, pruned_keys),
    COUNTER("runs_timed_out_total", NULL, "Runs that passed --run-timeout-ms.",
            timed_out),
    COUNTER("ends_recalled_total", NULL,
            "Ends looked at again because Redis was another one.", ends_recalled),
    COUNTER("ends_swept_total", NULL, "Ends published for somebody else.", ends_swept),
    COUNTER("ends_lost_total", NULL, "Ends that cannot be read or published.", ends_lost),
    COUNTER("agent_bad_lines_total", NULL, "Lines of agents that are no event.",
            agent_bad_lines),
    COUNTER("agent_log_dropped_total", NULL, "Lines of agents' stderr not logged.",
            agent_log_dropped),
    COUNTER("agent_after_end_total", NULL, "What agents said behind their end.",
            agent_after_end),
    COUNTER("provider_requests_total", NULL, "Questions to model providers.",
            provider_requests),
    COUNTER("provider_retries_total", NULL,
            "Questions that are asked again, because nothing was said yet.",
            provider_retries),
    COUNTER("provider_failures_total", NULL, "Questions without a whole answer.",
            provider_failures),
    COUNTER("provider_limits_total", NULL,
            "Of them, answers that passed a limit of their agent.", provider_limits),
    COUNTER("provider_timeouts_total", NULL,
            "Of them, providers that were silent for too long.", provider_timeouts),
    COUNTER("provider_after_end_total", NULL,
            "Pieces of providers behind the end of an answer.", provider_after_end),
    COUNTER("agent_foreign_lines_total", NULL,
            "Lines of a process about runs that it does not have.", agent_foreign_lines),
    COUNTER("agent_limits_total", "limit=\"time\"", "Programs that met a limit.",
            agent_limit_time),
    COUNTER("agent_limits_total", "limit=\"cpu\"", NULL, agent_limit_cpu),
    COUNTER("agent_limits_total", "limit=\"memory\"", NULL, agent_limit_memory),
    COUNTER("agent_limits_total", "limit=\"output\"", NULL, agent_limit_output),
    COUNTER("agent_limits_total", "limit=\"flood\"", NULL, agent_limit_flood),
    COUNTER("agent_held_up_total", NULL,
            "Times that a process was not read because of one of its runs.",
            agent_held_up),
    COUNTER("agent_stuck_total", NULL, "Runs of a process that did not obey a cancel.",
            agent_stuck),
    COUNTER("agent_processes_started_total", NULL, "Programs that were started.",
            agent_processes_started),
    COUNTER("agent_processes_lost_total", NULL,
            "Processes that went while they had runs to serve.", agent_processes_lost),
    COUNTER("agent_orphans_killed_total", NULL,
            "Processes outside of its group that a program left behind.",
            agent_orphans_killed),
    COUNTER("reloads_total", "result=\"ok\"",
            "Times that SIGHUP had the agents read again.", reloads[0]),
    COUNTER("reloads_total", "result=\"refused\"", NULL, reloads[1]),
    COUNTER("log_dropped_total", NULL, "Log lines that stderr did not take.",
            log_dropped),
    GAUGE("loop_max_lag_us", "Longest turn of the loop since the last look.",
          loop_max_lag_us),
    HISTOGRAM("first_token_seconds", "From the claim to the first token in Redis.",
              first_token),
    HISTOGRAM("publish_seconds", "A call of publish.lua until it is answered.", publish),
};
const size_t worker_stats_count =
    sizeof(worker_stats_rows) / sizeof(worker_stats_rows[0]);
