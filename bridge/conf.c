/* conf: the table of threadcast-bridge's options: what --help, --check-config and the
 * README know. The rules across options are in conf_rules.c. */
#include "bridge/conf.h"

#include "bridge/address.h"
#include "bridge/base_path.h"
#include "bridge/claims.h"
#include "bridge/origin.h"
#include "common/fetch.h"
#include "common/log.h"
#include "common/names.h"
#include "common/pg.h"
#include "threadcast_version.h"

#include <stddef.h>
#include <string.h>

#define DAY_MS 86400000
#define MIB (1024 * 1024)

static bool check_listen(const char *value, struct buf *err)
{
    struct sockaddr_storage addr;
    socklen_t len;

    return address_parse(value, &addr, &len, err);
}

static bool check_base_path(const char *value, struct buf *err)
{
    return base_path_valid(value, err);
}

static bool check_proxies(const char *value, struct buf *err)
{
    return address_list_valid(value, err);
}

static bool check_origins(const char *value, struct buf *err)
{
    return origin_list_valid(value, err);
}

static bool check_given(const char *value, struct buf *err)
{
    if (*value)
        return true;
    buf_str(err, "must not be empty");
    return false;
}

static bool check_database(const char *value, struct buf *err)
{
    return check_given(value, err) && pg_url_check(value, err);
}

static bool check_secret(const char *value, struct buf *err)
{
    if (strlen(value) >= 32)
        return true;
    buf_str(err, "must have at least 32 bytes");
    return false;
}

#define AT(field) offsetof(struct bridge_conf, field)
#define INT(name_, field, def_, min_, max_, unit_, help_)                                \
    {                                                                                    \
        .name = (name_), .kind = CONF_INT, .offset = AT(field), .def = (def_),           \
        .min = (min_), .max = (max_), .unit = (unit_), .help = (help_)                   \
    }

static const struct conf_option options[] = {
    /* where */
    {.name = "listen",
     .kind = CONF_STR,
     .offset = AT(listen),
     .def = "127.0.0.1:8080",
     .check = check_listen,
     .help = "Address and port to serve HTTP on; port 0 lets the system choose."},
    {.name = "admin-listen",
     .kind = CONF_STR,
     .offset = AT(admin_listen),
     .check = check_listen,
     .help =
         "Address and port for /metrics and /debug/streams, which are then not served "
         "on --listen; /healthz and /readyz are on both. Not for the public."},
    {.name = "app-dir",
     .kind = CONF_STR,
     .offset = AT(app_dir),
     .def = THREADCAST_APP_DIR,
     .help = "Files of the demo application, served with --demo."},
    {.name = "client-dir",
     .kind = CONF_STR,
     .offset = AT(client_dir),
     .def = THREADCAST_CLIENT_DIR,
     .help = "Files of the JavaScript client (sdk/js/src), served at /client.js and "
             "/client/… to pages of any origin."},
    {.name = "redis-url",
     .env = "REDIS_URL",
     .kind = CONF_SECRET,
     .offset = AT(redis_url),
     .check = check_given,
     .def = "redis://127.0.0.1:6379",
     .help = "Where Redis is, with user and password if any: redis://, rediss:// (TLS), "
             "unix://, or redis+sentinel://host,host/master."},
    {.name = "redis-prefix",
     .env = "REDIS_PREFIX",
     .kind = CONF_STR,
     .offset = AT(redis_prefix),
     .def = "",
     .check = names_prefix_check,
     .help = "Goes before every key and channel in Redis; the same for all daemons."},
    {.name = "tls-ca-file",
     .kind = CONF_STR,
     .offset = AT(tls_ca_file),
     .help = "Certificates that may sign Redis' own (PEM); default: the system's."},
    {.name = "database-url",
     .env = "DATABASE_URL",
     .kind = CONF_SECRET,
     .offset = AT(database_url),
     .check = check_database,
     .help = "Postgres; without it the bridge serves publishers from Redis alone."},
    {.name = "database-listen-url",
     .env = "DATABASE_LISTEN_URL",
     .kind = CONF_SECRET,
     .offset = AT(database_listen_url),
     .check = check_database,
     .help = "Postgres for LISTEN, where a transaction pooler stands before the other."},
    {.name = "database-schema",
     .env = "DATABASE_SCHEMA",
     .kind = CONF_STR,
     .offset = AT(database_schema),
     .def = "threadcast",
     .check = pg_schema_check,
     .help = "Schema that `threadcast-worker migrate` made; the same for all daemons."},
    INT("database-pool", database_pool, "4", 1, 64, NULL,
        "Connections to Postgres, dealt out to the reactors; each has at least one."),
    /* who */
    {.name = "auth",
     .kind = CONF_CHOICE,
     .offset = AT(auth),
     .def = "jwt",
     .choices = "jwt|none",
     .help = "Who may use it: bearers of a token, or (none) everybody on this machine; "
             "none listens on loopback only."},
    {.name = "jwt-secret",
     .env = "JWT_SECRET",
     .kind = CONF_SECRET,
     .offset = AT(jwt_secret),
     .check = check_secret,
     .help = "Key of HS256 tokens, at least 32 bytes."},
    {.name = "jwt-secret-file",
     .env = "JWT_SECRET_FILE",
     .kind = CONF_STR,
     .offset = AT(jwt_secret_file),
     .help = "File with that key; --demo makes it (0600) when it is not there."},
    {.name = "jwt-secret-previous",
     .env = "JWT_SECRET_PREVIOUS",
     .kind = CONF_SECRET,
     .offset = AT(jwt_secret_previous),
     .help = "Further keys of HS256 tokens, one a line: accepted, never used to sign."},
    {.name = "jwt-secret-previous-file",
     .env = "JWT_SECRET_PREVIOUS_FILE",
     .kind = CONF_STR,
     .offset = AT(jwt_secret_previous_file),
     .help = "File with those keys."},
    {.name = "jwt-public-key-file",
     .env = "JWT_PUBLIC_KEY_FILE",
     .kind = CONF_STR,
     .offset = AT(jwt_public_key_file),
     .help =
         "Public keys (PEM, one after the other) of RS256, ES256 or EdDSA tokens; its "
         "kind decides which."},
    {.name = "jwt-jwks-url",
     .env = "JWT_JWKS_URL",
     .kind = CONF_SECRET,
     .offset = AT(jwt_jwks_url),
     .check = fetch_url_check,
     .help = "Where an issuer publishes its public keys as a JSON Web Key Set."},
    INT("jwks-refresh-s", jwks_refresh_s, "300", 1, 86400, "s",
        "They are fetched at least so often; sooner when Cache-Control says so."),
    INT("jwks-min-interval-s", jwks_min_interval_s, "10", 1, 3600, "s",
        "Tokens of unknown keys make them be fetched at most so often."),
    INT("jwks-timeout-ms", jwks_timeout_ms, "5000", 100, 60000, "ms",
        "The issuer must have answered within this."),
    INT("jwks-wait-ms", jwks_wait_ms, "2000", 0, 60000, "ms",
        "How long a request waits for them before it is told to try again."),
    INT("jwks-max-keys", jwks_max_keys, "64", 1, 1000, NULL,
        "Keys of the issuer's that are taken; the others are skipped and counted."),
    INT("jwks-max-bytes", jwks_max_bytes, "1048576", 1024, 64 * MIB, "bytes",
        "A longer set is no answer."),
    {.name = "https-ca-file",
     .kind = CONF_STR,
     .offset = AT(https_ca_file),
     .help = "Certificates that may sign those of the servers that the bridge asks by "
             "HTTPS (PEM); default: the system's."},
    {.name = "jwt-grants-claim",
     .env = "JWT_GRANTS_CLAIM",
     .kind = CONF_STR,
     .offset = AT(jwt_grants_claim),
     .def = CLAIMS_GRANTS,
     .check = claims_path_check,
     .help = "Claim that holds the grants: its name, or a JSON pointer such as "
             "/app_metadata/threadcast."},
    {.name = "jwt-sub-claim",
     .env = "JWT_SUB_CLAIM",
     .kind = CONF_STR,
     .offset = AT(jwt_sub_claim),
     .def = CLAIMS_SUB,
     .check = claims_path_check,
     .help = "Claim that says whose a token is, in the same way; one that its bearer "
             "cannot choose."},
    {.name = "jwt-audience",
     .env = "JWT_AUDIENCE",
     .kind = CONF_STR,
     .offset = AT(jwt_audience),
     .help = "What `aud` of a token must name."},
    {.name = "jwt-issuer",
     .env = "JWT_ISSUER",
     .kind = CONF_STR,
     .offset = AT(jwt_issuer),
     .help = "What `iss` of a token must be."},
    {.name = "ticket-secret",
     .kind = CONF_SECRET,
     .offset = AT(ticket_secret),
     .check = check_secret,
     .help = "Key that signs tickets, the same for all bridges behind one address; "
             "default: derived from JWT_SECRET, else random at each start."},
    {.name = "allow-query-token",
     .kind = CONF_BOOL,
     .offset = AT(allow_query_token),
     .def = "false",
     .help = "Accept ?token= in the address (it ends up in other people's logs)."},
    {.name = "legacy-api",
     .kind = CONF_BOOL,
     .offset = AT(legacy_api),
     .def = "true",
     .help = "Serve /agent-run/<id>/… (also below /api) to pages written for Suna and "
             "its forks; with --allow-query-token they may send ?token=."},
    {.name = "demo",
     .kind = CONF_BOOL,
     .offset = AT(demo),
     .def = "false",
     .help = "Serve the demo application and let visitors in as guests."},
    {.name = "allowed-origins",
     .kind = CONF_STR,
     .offset = AT(allowed_origins),
     .def = "",
     .check = check_origins,
     .help = "Origins of other sites' pages that may use this bridge, comma separated."},
    {.name = "base-path",
     .kind = CONF_STR,
     .offset = AT(base_path),
     .def = "",
     .check = check_base_path,
     .help = "Path below which everything is served, like /live; /healthz, /readyz and "
             "/metrics answer outside of it too."},
    {.name = "public-origin",
     .kind = CONF_STR,
     .offset = AT(public_origin),
     .check = check_origins,
     .help = "Origin under which browsers see this bridge; default: scheme and Host of "
             "the request."},
    {.name = "trusted-proxies",
     .kind = CONF_STR,
     .offset = AT(trusted_proxies),
     .def = "",
     .check = check_proxies,
     .help = "Addresses or blocks whose X-Forwarded-For, -Proto and -Host are believed, "
             "comma separated."},
    INT("ticket-max-s", ticket_max_s, "3600", 1, 86400, "s", "Longest life of a ticket."),
    {.name = "authorize-url",
     .env = "AUTHORIZE_URL",
     .kind = CONF_SECRET,
     .offset = AT(authorize_url),
     .check = fetch_url_check,
     .help = "Says who a request without a token of ours is, and what they may read; "
             "asked with its cookies and Authorization."},
    INT("authorize-timeout-ms", authorize_timeout_ms, "2000", 50, 60000, "ms",
        "For its whole answer; then the request is told to try again."),
    INT("authorize-concurrency", authorize_concurrency, "32", 1, 1024, NULL,
        "Questions to it at once, dealt out to the reactors; each may ask one."),
    INT("authorize-queue", authorize_queue, "1024", 0, 1000000, NULL,
        "Questions that may wait for that; more are told to try again."),
    INT("authorize-cache-max", authorize_cache_max, "10000", 0, 10000000, NULL,
        "Answers that are kept; 0: none."),
    INT("authorize-ttl-s", authorize_ttl_s, "60", 0, 86400, "s",
        "An answer is used again for so long, and not after its `exp`."),
    INT("authorize-refusal-ms", authorize_refusal_ms, "2000", 0, 60000, "ms",
        "The same for a refusal."),
    INT("max-revocations", max_revocations, "10000", 1, 200000, NULL,
        "Subjects and tokens that may be revoked at once; one more is refused."),
    INT("revocation-ttl-s", revocation_ttl_s, "2592000", 60, 315360000, "s",
        "How long a revocation counts: not below the longest life of a token; the same "
        "for all bridges."),
    INT("guest-ttl-s", guest_ttl_s, "604800", 60, 31536000, "s",
        "How long a guest of the demo stays who it is."),
    INT("demo-sessions-per-min", demo_sessions_per_min, "60", 1, 1000000, "1/min",
        "New guests from one address in a minute."),
    /* streams */
    INT("keepalive-ms", keepalive_ms, "15000", 10, DAY_MS, "ms",
        "A line goes out on a stream that was silent for so long."),
    INT("retry-ms", retry_ms, "1000", 1, DAY_MS, "ms",
        "What a stream tells a browser to wait before it reconnects (jittered)."),
    INT("client-queue-bytes", client_queue_bytes, "262144", 1024, 1024 * MIB, "bytes",
        "Live events that may wait for a slow reader before it is closed."),
    INT("client-socket-bytes", client_socket_bytes, "32768", 1024, 1024 * MIB, "bytes",
        "What the kernel may hold of a stream that is not on the wire; what is behind "
        "that "
        "waits in the queue, where tokens are merged."),
    INT("client-merge-percent", client_merge_percent, "20", 0, 100, "%",
        "Fill of that queue above which neighbouring tokens are merged."),
    INT("max-clients", max_clients, "10000", 1, 1000000, NULL, "Streams open at once."),
    INT("max-clients-per-ip", max_clients_per_ip, "0", 0, 1000000, NULL,
        "Streams of one address; 0: no limit (behind a proxy all are one)."),
    INT("max-streams-per-user", max_streams_per_user, "1000", 0, 1000000, NULL,
        "Streams of one subject; 0: no limit."),
    INT("max-threads-per-stream", max_threads_per_stream, "32", 1, 32, NULL,
        "Threads that one stream may read."),
    INT("worker-lease-ms", worker_lease_ms, "15000", 100, DAY_MS, "ms",
        "The workers' --lease-ms: a silence shorter than that means nothing."),
    INT("max-stream-age-ms", max_stream_age_ms, "0", 0, INT64_C(30) * DAY_MS, "ms",
        "A stream that has been open for so long (up to a tenth less, so that not all go "
        "at once) is told `bye` and reconnects; 0: no limit."),
    INT("write-stall-ms", write_stall_ms, "20000", 100, DAY_MS, "ms",
        "A connection that takes no byte for so long is closed."),
    INT("replay-page", replay_page, "256", 1, 10000, "entries",
        "Entries of a log read at once for a replay."),
    INT("replay-concurrency", replay_concurrency, "32", 1, 10000, NULL,
        "Replays that read at once; others wait."),
    INT("cursor-concurrency", cursor_concurrency, "256", 1, 10000, NULL,
        "Threads whose live runs are asked for at once; others wait."),
    INT("verify-ms", verify_ms, "30000", 1000, DAY_MS, "ms",
        "A quiet thread is compared with its log so often."),
    INT("max-probes", max_probes, "32", 0, 10000, NULL,
        "Streams of /v1/probe (for `threadcast doctor`) open at once; 0: there is none."),
    INT("probes-per-min", probes_per_min, "120", 1, 1000000, "1/min",
        "Probes begun from one address in a minute."),
    INT("probe-max-ms", probe_max_ms, "120000", 100, DAY_MS, "ms",
        "The longest that a probe can be asked to last."),
    /* http */
    INT("request-timeout-ms", request_timeout_ms, "10000", 100, DAY_MS, "ms",
        "A request must have arrived whole within this."),
    INT("idle-timeout-ms", idle_timeout_ms, "75000", 100, DAY_MS, "ms",
        "A kept connection without a request is closed."),
    INT("max-connections", max_connections, "1024", 1, 1000000, NULL,
        "HTTP connections that are not streams."),
    INT("upstream-timeout-ms", upstream_timeout_ms, "1000", 50, 60000, "ms",
        "How long Redis or Postgres may be silent before a request is told to try "
        "again."),
    /* publishing */
    INT("history-max-events", history_max_events, "20000", 1, 10000000, "events",
        "Events kept per thread (for events published over HTTP)."),
    INT("history-max-bytes", history_max_bytes, "16777216", 1024, 1024 * MIB, "bytes",
        "Bytes of events kept per thread."),
    INT("history-ttl-s", history_ttl_s, "86400", 1, 31536000, "s",
        "A thread's events are forgotten so long after the last."),
    /* process */
    INT("max-rounds", max_rounds, "1024", 1, 1000000, NULL,
        "Questions of one reactor that another has not answered; above that it is left "
        "out."),
    INT("reactors", reactors, "0", 0, 64, NULL,
        "Event loops, each on a thread with its own listening socket and connections to "
        "Redis; 0: one for each core that the process may use."),
    INT("gather-readers", gather_readers, "16", 0, 1000000, NULL,
        "While a thread has no more readers than this, who asks for its stream is "
        "served by the same event loop, so that Redis sends its events once; more stay "
        "where they came in. 0: all do."),
    INT("hang-ms", hang_ms, "5000", 500, DAY_MS, "ms",
        "/healthz says no when a loop has not turned for so long."),
    INT("drain-ms", drain_ms, "10000", 0, 3600000, "ms",
        "On SIGTERM, streams are told to go elsewhere within this."),
    INT("shutdown-delay-ms", shutdown_delay_ms, "0", 0, 3600000, "ms",
        "On SIGTERM, /readyz says no for so long before anything else ends."),
    {.name = "log-level",
     .env = "LOG_LEVEL",
     .kind = CONF_CHOICE,
     .offset = AT(log_level),
     .def = "info",
     .choices = "debug|info|warn|error",
     .help = "The least important lines that are logged."},
    {.name = "log-format",
     .env = "LOG_FORMAT",
     .kind = CONF_CHOICE,
     .offset = AT(log_format),
     .def = "text",
     .choices = "text|json",
     .help = "How a line looks."},
};

static const char *const commands[] = {"token", NULL};

const struct conf_spec bridge_conf_spec = {
    .program = "threadcast-bridge",
    .about = "Serves the events of threads to browsers as Server-Sent Events.",
    .env_prefix = "BRIDGE_",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .commands = commands,
};

void bridge_conf_free(struct bridge_conf *conf)
{
    redis_url_fini(&conf->redis);
    conf_free(&bridge_conf_spec, conf);
}
