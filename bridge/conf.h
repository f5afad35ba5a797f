/* conf: the options of threadcast-bridge. The table in conf.c is what --help prints. */
#ifndef THREADCAST_BRIDGE_CONF_H
#define THREADCAST_BRIDGE_CONF_H

#include "common/conf.h"
#include "common/redis.h"

#include <stdbool.h>
#include <stdint.h>

enum auth_mode { AUTH_MODE_JWT, AUTH_MODE_NONE };

struct bridge_conf {
    /* where */
    char *listen, *admin_listen; /* host:port, [v6]:port; the latter NULL: none */
    char *app_dir, *client_dir;
    char *redis_url, *redis_prefix, *tls_ca_file;
    char *database_url, *database_listen_url,
        *database_schema; /* url NULL: Redis alone */
    int64_t database_pool;
    /* who */
    int auth; /* enum auth_mode */
    char *jwt_secret, *jwt_secret_file, *jwt_public_key_file, *jwt_audience, *jwt_issuer;
    char *authorize_url;
    int64_t authorize_timeout_ms, authorize_concurrency, authorize_queue,
        authorize_cache_max, authorize_ttl_s, authorize_refusal_ms;
    int64_t max_revocations, revocation_ttl_s;
    char *jwt_secret_previous, *jwt_secret_previous_file; /* one secret a line */
    char *jwt_jwks_url, *https_ca_file;
    int64_t jwks_refresh_s, jwks_min_interval_s, jwks_timeout_ms, jwks_wait_ms;
    int64_t jwks_max_keys, jwks_max_bytes;
    char *jwt_grants_claim, *jwt_sub_claim; /* a name, or a JSON pointer */
    char *ticket_secret; /* NULL: derived from jwt_secret, else random */
    bool allow_query_token, demo, legacy_api;
    char *allowed_origins;                 /* comma separated */
    char *public_origin, *trusted_proxies; /* comma separated addresses or CIDR */
    char *base_path;                       /* "/live", or "" */
    int64_t ticket_max_s, guest_ttl_s;
    int64_t demo_sessions_per_min;
    /* streams */
    int64_t keepalive_ms, retry_ms, client_queue_bytes, client_merge_percent;
    int64_t client_socket_bytes;
    int64_t max_clients, max_clients_per_ip, max_streams_per_user, max_threads_per_stream;
    int64_t worker_lease_ms;
    int64_t max_stream_age_ms, write_stall_ms, replay_page, replay_concurrency, verify_ms;
    int64_t cursor_concurrency;
    int64_t max_probes, probes_per_min, probe_max_ms;
    /* http */
    int64_t request_timeout_ms, idle_timeout_ms, max_connections, upstream_timeout_ms;
    /* publishing (POST …/events) */
    int64_t history_max_events, history_max_bytes, history_ttl_s;
    /* process */
    int64_t reactors; /* 0: one for each core */
    int64_t gather_readers;
    int64_t max_rounds;
    int64_t hang_ms;
    int64_t drain_ms, shutdown_delay_ms;
    int log_level, log_format;
    /* made by bridge_conf_validate */
    struct redis_url redis;
};

extern const struct conf_spec bridge_conf_spec;
bool bridge_conf_validate(void *conf, struct buf *err);
void bridge_conf_free(struct bridge_conf *conf);

#endif
