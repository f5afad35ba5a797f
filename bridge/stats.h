/* stats: the bridge's numbers, one struct per reactor; the table in stats.c names them,
 * metrics.c brings them together. */
#ifndef THREADCAST_BRIDGE_STATS_H
#define THREADCAST_BRIDGE_STATS_H

#include "common/stats.h"

#include <stdint.h>

struct bridge_stats {
    /* http */
    uint64_t accepted, connections, http_requests, http_refused, accept_errors;
    uint64_t conn_late, conn_stalled, conn_idle, conn_memory;
    uint64_t responses_2xx, responses_4xx, responses_5xx;
    uint64_t auth_missing, auth_refused, auth_revoked, auth_unknown, access_denied,
        origin_refused;
    uint64_t limit_connections, limit_clients, limit_per_ip, limit_per_user;
    uint64_t authorize_yes, authorize_no, authorize_failed, authorize_known,
        authorize_shared, authorize_waiting, limit_authorize_queue, limit_authorize_cache;
    uint64_t limit_revocations, revocations, revocations_made;
    uint64_t limit_demo_sessions, limit_descriptors, limit_rounds, reserve_lent;
    uint64_t connections_moved, gather_full;
    uint64_t jwks_fetched, jwks_failed, jwks_waits, jwks_wait_over, limit_jwks_asked;
    uint64_t jwks_keys, jwks_skipped, jwks_age_s; /* number 0's alone */
    /* streams */
    uint64_t tickets_renewed, streams_extended;
    uint64_t clients, clients_blocked, streams_opened, streams_http10, topics;
    uint64_t closed_client, closed_slow, closed_stalled, closed_token, closed_revoked,
        closed_drain, closed_aged, closed_ended, closed_wrote, closed_demo, closed_memory,
        closed_busy, closed_polled;
    uint64_t busy, resets, keepalives, stalled, runs_ended_lost, ends_forgotten;
    uint64_t resume_hits, resume_misses, no_content, state_newer;
    uint64_t probes, probes_begun, limit_probes, limit_probes_per_min;
    uint64_t older_streams, older_entries, older_lost;
    /* events */
    uint64_t events_in, events_bare, events_out, bytes_out, events_merged;
    uint64_t drop_not_json, drop_wrong_thread, drop_too_large, drop_other, drop_duplicate;
    uint64_t holes, fills, replays, replay_events, replay_waiting, cursors_waiting;
    struct stats_histogram publish_latency; /* event ts is ms: from ts to socket */
    struct stats_histogram loop_lag;        /* how late a timer is, four times a second */
    /* publishing over HTTP */
    uint64_t published, publish_refused, publish_failed;
    /* upstreams */
    uint64_t redis_down, redis_errors, pg_down, pg_errors, canary_lost;
};

/* Adds `more` to `sum`: what the reactors of a process have counted. */
void bridge_stats_add(struct bridge_stats *sum, const struct bridge_stats *more);
void bridge_stats_render(const struct bridge_stats *stats, struct buf *out);

#endif
