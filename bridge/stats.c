/* stats: the table that names the bridge's numbers for Prometheus. */
#include "bridge/stats.h"

#include <stddef.h>

#define COUNTER(name_, labels_, field, help_)                                            \
    {                                                                                    \
        "threadcast_bridge_" name_, labels_, help_, STATS_COUNTER,                       \
            offsetof(struct bridge_stats, field)                                         \
    }
#define GAUGE(name_, labels_, field, help_)                                              \
    {                                                                                    \
        "threadcast_bridge_" name_, labels_, help_, STATS_GAUGE,                         \
            offsetof(struct bridge_stats, field)                                         \
    }
#define HISTOGRAM(name_, field, help_)                                                   \
    {                                                                                    \
        "threadcast_bridge_" name_, NULL, help_, STATS_HISTOGRAM_US,                     \
            offsetof(struct bridge_stats, field)                                         \
    }

static const struct stats_row rows[] = {
    /* http */
    COUNTER("accepted_total", NULL, accepted, "Connections accepted."),
    COUNTER("accept_errors_total", NULL, accept_errors, "Accepts that failed."),
    GAUGE("connections", NULL, connections, "HTTP connections that are not streams."),
    COUNTER("connections_closed_total", "reason=\"request_timeout\"", conn_late,
            "Those that met a limit of time, by which wait it was, or had no memory."),
    COUNTER("connections_closed_total", "reason=\"stalled\"", conn_stalled, NULL),
    COUNTER("connections_closed_total", "reason=\"memory\"", conn_memory, NULL),
    COUNTER("connections_closed_total", "reason=\"idle\"", conn_idle, NULL),
    COUNTER("connections_moved_total", NULL, connections_moved,
            "Those that went to the reactor of their thread's readers."),
    COUNTER("gather_full_total", NULL, gather_full,
            "Those that stayed: --gather-readers were there, or too many waited there."),
    COUNTER("http_requests_total", NULL, http_requests, "Well-formed requests."),
    COUNTER("http_refused_total", NULL, http_refused, "Malformed or slow requests."),
    COUNTER("http_responses_total", "class=\"2xx\"", responses_2xx,
            "Answers by class (streams not among them)."),
    COUNTER("http_responses_total", "class=\"4xx\"", responses_4xx, NULL),
    COUNTER("http_responses_total", "class=\"5xx\"", responses_5xx, NULL),
    COUNTER("refused_total", "reason=\"auth_missing\"", auth_missing,
            "Requests refused by who asked."),
    COUNTER("refused_total", "reason=\"auth_refused\"", auth_refused, NULL),
    COUNTER("refused_total", "reason=\"revoked\"", auth_revoked, NULL),
    COUNTER("refused_total", "reason=\"auth_unknown\"", auth_unknown, NULL),
    COUNTER("refused_total", "reason=\"access_denied\"", access_denied, NULL),
    COUNTER("refused_total", "reason=\"origin\"", origin_refused, NULL),
    COUNTER("limits_total", "limit=\"max-connections\"", limit_connections,
            "How often a limit was met."),
    COUNTER("limits_total", "limit=\"max-clients\"", limit_clients, NULL),
    COUNTER("limits_total", "limit=\"max-clients-per-ip\"", limit_per_ip, NULL),
    COUNTER("limits_total", "limit=\"max-streams-per-user\"", limit_per_user, NULL),
    COUNTER("limits_total", "limit=\"demo-sessions-per-min\"", limit_demo_sessions, NULL),
    COUNTER("limits_total", "limit=\"authorize-queue\"", limit_authorize_queue, NULL),
    COUNTER("limits_total", "limit=\"authorize-cache-max\"", limit_authorize_cache, NULL),
    COUNTER("limits_total", "limit=\"max-revocations\"", limit_revocations, NULL),
    COUNTER("limits_total", "limit=\"descriptors\"", limit_descriptors, NULL),
    COUNTER("limits_total", "limit=\"max-rounds\"", limit_rounds, NULL),
    COUNTER("limits_total", "limit=\"jwks-min-interval-s\"", limit_jwks_asked, NULL),
    COUNTER("limits_total", "limit=\"jwks-wait-ms\"", jwks_wait_over, NULL),
    COUNTER("limits_total", "limit=\"max-probes\"", limit_probes, NULL),
    COUNTER("limits_total", "limit=\"probes-per-min\"", limit_probes_per_min, NULL),
    COUNTER("reserve_lent_total", NULL, reserve_lent,
            "Connections that got the descriptor kept in reserve."),
    COUNTER("authorize_total", "result=\"yes\"", authorize_yes,
            "Answers of --authorize-url, by what they say."),
    COUNTER("authorize_total", "result=\"no\"", authorize_no, NULL),
    COUNTER("authorize_total", "result=\"failed\"", authorize_failed, NULL),
    GAUGE("authorize_waiting", NULL, authorize_waiting,
          "Questions to it, under way or in line."),
    COUNTER("authorize_saved_total", "by=\"cache\"", authorize_known,
            "Requests that needed no question of their own."),
    COUNTER("authorize_saved_total", "by=\"sharing\"", authorize_shared, NULL),
    GAUGE("revocations", NULL, revocations, "Subjects and tokens revoked now."),
    COUNTER("revocations_total", NULL, revocations_made, "Revocations asked for here."),
    COUNTER("jwks_fetches_total", "result=\"ok\"", jwks_fetched,
            "Fetches of the issuer's keys, by whether new ones came of it."),
    COUNTER("jwks_fetches_total", "result=\"failed\"", jwks_failed, NULL),
    COUNTER("jwks_waits_total", NULL, jwks_waits,
            "Requests that waited for the issuer's keys."),
    GAUGE("jwks_keys", NULL, jwks_keys, "Keys of the issuer's in use."),
    GAUGE("jwks_keys_skipped", NULL, jwks_skipped,
          "Entries of its set that are no key for us."),
    GAUGE("jwks_age_seconds", NULL, jwks_age_s,
          "How long ago its keys were last fetched."),
    /* streams */
    GAUGE("clients", NULL, clients, "Streams open."),
    GAUGE("clients_blocked", NULL, clients_blocked,
          "Of those, whose socket takes no more at the moment."),
    GAUGE("topics", NULL, topics, "Threads subscribed."),
    COUNTER("streams_total", NULL, streams_opened, "Streams begun."),
    COUNTER("streams_http10_total", NULL, streams_http10,
            "Streams begun over HTTP/1.0, whose end cannot be told from a cut."),
    COUNTER("streams_closed_total", "reason=\"client\"", closed_client,
            "Streams closed, by reason."),
    COUNTER("streams_closed_total", "reason=\"slow\"", closed_slow, NULL),
    COUNTER("streams_closed_total", "reason=\"stalled\"", closed_stalled, NULL),
    COUNTER("streams_closed_total", "reason=\"token\"", closed_token, NULL),
    COUNTER("streams_closed_total", "reason=\"revoked\"", closed_revoked, NULL),
    COUNTER("streams_closed_total", "reason=\"drain\"", closed_drain, NULL),
    COUNTER("streams_closed_total", "reason=\"aged\"", closed_aged, NULL),
    COUNTER("streams_closed_total", "reason=\"ended\"", closed_ended, NULL),
    COUNTER("streams_closed_total", "reason=\"wrote\"", closed_wrote, NULL),
    COUNTER("streams_closed_total", "reason=\"demo\"", closed_demo, NULL),
    COUNTER("streams_closed_total", "reason=\"memory\"", closed_memory, NULL),
    COUNTER("streams_closed_total", "reason=\"busy\"", closed_busy, NULL),
    COUNTER("streams_closed_total", "reason=\"polled\"", closed_polled, NULL),
    COUNTER("tickets_renewed_total", NULL, tickets_renewed,
            "Tickets handed to their streams before the old one ended."),
    COUNTER("streams_extended_total", NULL, streams_extended,
            "Streams lengthened by a fresh token."),
    COUNTER("busy_total", NULL, busy, "Streams answered `busy`."),
    COUNTER("no_content_total", NULL, no_content, "Streams answered 204."),
    COUNTER("resets_total", NULL, resets, "`reset` events sent."),
    COUNTER("stalled_total", NULL, stalled, "Threads found with a silent worker."),
    COUNTER("ends_forgotten_total", NULL, ends_forgotten,
            "Ends that Redis had lost and a worker publishes again."),
    COUNTER("runs_ended_lost_total", NULL, runs_ended_lost,
            "Runs without a database row ended for their silent publisher."),
    COUNTER("state_newer_total", NULL, state_newer,
            "Looks at threads that a newer version keeps."),
    COUNTER("keepalives_total", NULL, keepalives, "Keepalive lines sent."),
    COUNTER("resumes_total", "result=\"hit\"", resume_hits,
            "Streams begun at a position, by whether it was still good."),
    COUNTER("resumes_total", "result=\"miss\"", resume_misses, NULL),
    GAUGE("probes", NULL, probes, "Of the streams open, those of /v1/probe."),
    COUNTER("probes_total", NULL, probes_begun, "Streams of /v1/probe begun."),
    COUNTER("older_streams_total", NULL, older_streams,
            "Streams begun on the older interface."),
    COUNTER("older_entries_total", NULL, older_entries,
            "Entries of older runs passed on."),
    COUNTER("older_lost_total", NULL, older_lost,
            "Readers of older runs told that a part of it was lost."),
    /* events */
    COUNTER("events_in_total", NULL, events_in, "Events received from Redis."),
    COUNTER("events_bare_total", NULL, events_bare,
            "Of those, without an id: they cannot be resumed."),
    COUNTER("events_out_total", NULL, events_out, "Events written to streams."),
    COUNTER("bytes_out_total", NULL, bytes_out, "Bytes written to streams."),
    COUNTER("events_merged_total", NULL, events_merged, "Tokens merged into another."),
    COUNTER("drops_total", "reason=\"not_json\"", drop_not_json,
            "Messages from Redis dropped, by reason."),
    COUNTER("drops_total", "reason=\"wrong_thread\"", drop_wrong_thread, NULL),
    COUNTER("drops_total", "reason=\"too_large\"", drop_too_large, NULL),
    COUNTER("drops_total", "reason=\"duplicate\"", drop_duplicate, NULL),
    COUNTER("drops_total", "reason=\"other\"", drop_other, NULL),
    COUNTER("holes_total", NULL, holes, "Holes seen on live streams."),
    COUNTER("fills_total", NULL, fills, "Threads filled from their log."),
    COUNTER("replays_total", NULL, replays, "Replays begun."),
    COUNTER("replay_events_total", NULL, replay_events, "Events replayed."),
    GAUGE("replays_waiting", NULL, replay_waiting, "Replays that wait for their turn."),
    GAUGE("cursors_waiting", NULL, cursors_waiting,
          "Questions about live runs that wait for their turn."),
    HISTOGRAM("publish_to_socket_seconds", publish_latency,
              "From an event's ts to its bytes in the socket."),
    HISTOGRAM("loop_lag_histogram_seconds", loop_lag,
              "How late the loop was, looked at four times a second."),
    /* publishing over HTTP */
    COUNTER("published_total", NULL, published, "Events published over HTTP."),
    COUNTER("publish_refused_total", NULL, publish_refused,
            "Publishing requests refused (conflict, run taken)."),
    COUNTER("publish_failed_total", NULL, publish_failed,
            "Publishing requests that Redis did not carry out."),
    /* upstreams */
    COUNTER("redis_down_total", NULL, redis_down, "Connections to Redis lost."),
    COUNTER("redis_errors_total", NULL, redis_errors, "Error replies of Redis."),
    COUNTER("pg_down_total", NULL, pg_down, "Statements without an answer."),
    COUNTER("pg_errors_total", NULL, pg_errors, "Statements that Postgres refused."),
    COUNTER("canary_lost_total", NULL, canary_lost,
            "Subscriptions found dead because the canary did not come back."),
};

void bridge_stats_add(struct bridge_stats *sum, const struct bridge_stats *more)
{
    stats_add(rows, sizeof rows / sizeof *rows, sum, more);
}

void bridge_stats_render(const struct bridge_stats *stats, struct buf *out)
{
    stats_render(rows, sizeof rows / sizeof *rows, stats, out);
}
