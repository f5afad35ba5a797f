/* conf: every option of the worker, once. What depends on two of them is checked in
 * worker_conf_validate, before anything is connected. */
#include "worker/conf.h"

#include "common/fetch.h"
#include "common/names.h"
#include "common/pg.h"
#include "worker/agents.h"
#include "worker/agents/openai_settings.h"
#include "worker/migrate.h"

#include <stddef.h>
#include <string.h>

#define FIELD(name) offsetof(struct worker_conf, name)
#define MIB (1024 * 1024)

static const struct conf_option options[] = {
    {.name = "redis-url",
     .env = "REDIS_URL",
     .kind = CONF_SECRET,
     .offset = FIELD(redis_url),
     .def = "redis://127.0.0.1:6379",
     .help = "Where Redis is: redis://, rediss:// (TLS), unix://, or "
             "redis+sentinel://host,host/master."},
    {.name = "redis-prefix",
     .env = "REDIS_PREFIX",
     .kind = CONF_STR,
     .offset = FIELD(redis_prefix),
     .def = "",
     .help = "Goes before the name of every key and channel.",
     .check = names_prefix_check},
    {.name = "tls-ca-file",
     .kind = CONF_STR,
     .offset = FIELD(tls_ca_file),
     .help = "Certificates to trust for rediss:// instead of the system's."},
    {.name = "database-url",
     .env = "DATABASE_URL",
     .kind = CONF_SECRET,
     .offset = FIELD(database_url),
     .check = pg_url_check,
     .help = "Where PostgreSQL is: postgresql://…"},
    {.name = "database-listen-url",
     .env = "DATABASE_LISTEN_URL",
     .kind = CONF_SECRET,
     .offset = FIELD(database_listen_url),
     .check = pg_url_check,
     .help = "Another way to it for LISTEN, past a transaction pooler."},
    {.name = "database-schema",
     .env = "DATABASE_SCHEMA",
     .kind = CONF_STR,
     .offset = FIELD(database_schema),
     .def = "threadcast",
     .help = "The schema of the tables.",
     .check = pg_schema_check},
    {.name = "migrate-lock-timeout-ms",
     .kind = CONF_INT,
     .offset = FIELD(migrate_lock_timeout_ms),
     .min = 10,
     .max = 600000,
     .def = "3000",
     .unit = "ms",
     .help =
         "migrate: how long one try may wait for a lock, and hold up who comes behind "
         "it."},
    {.name = "migrate-tries",
     .kind = CONF_INT,
     .offset = FIELD(migrate_tries),
     .min = 1,
     .max = 10000,
     .def = "20",
     .help = "migrate: how often it tries when somebody holds a lock."},
    {.name = "grant",
     .kind = CONF_STR,
     .offset = FIELD(grant),
     .check = migrate_grant_check,
     .help = "migrate: roles that get what they need: bridge=<role>,worker=<role>,app=…"},
    {.name = "database-pool",
     .kind = CONF_INT,
     .offset = FIELD(database_pool),
     .min = 1,
     .max = 64,
     .def = "2",
     .help = "Connections to PostgreSQL beside LISTEN."},
    {.name = "publishers",
     .kind = CONF_INT,
     .offset = FIELD(publishers),
     .min = 1,
     .max = 64,
     .def = "2",
     .help = "Connections to Redis that publish."},
    {.name = "metrics-listen",
     .kind = CONF_STR,
     .offset = FIELD(metrics_listen),
     .help =
         "Address and port for GET /metrics, /healthz and /readyz; not for the public. "
         "None: off."},
    {.name = "agent",
     .kind = CONF_STR,
     .offset = FIELD(agent),
     .def = "demo",
     .help = "Who answers by default: demo, openai[:<model>], exec:<command>, or a name "
             "from --agents."},
    {.name = "agents",
     .kind = CONF_STR,
     .offset = FIELD(agents),
     .help = "More agents that messages may name: name=exec:<command>,…"},
    {.name = "agents-file",
     .kind = CONF_STR,
     .offset = FIELD(agents_file),
     .help = "JSON file of agents, read again on SIGHUP: {\"default\": …, \"agents\": "
             "{name: {\"kind\": …}}}."},
    {.name = "openai-base-url",
     .env = "OPENAI_BASE_URL",
     .kind = CONF_STR,
     .offset = FIELD(openai_base_url),
     .def = OPENAI_BASE_URL,
     .check = fetch_url_check,
     .help = "The model provider that openai agents ask: any server that speaks OpenAI's "
             "chat completions."},
    {.name = "openai-api-key",
     .env = "OPENAI_API_KEY",
     .kind = CONF_SECRET,
     .offset = FIELD(openai_api_key),
     .check = openai_key_check,
     .help = "The key for it."},
    {.name = "openai-model",
     .env = "OPENAI_MODEL",
     .kind = CONF_STR,
     .offset = FIELD(openai_model),
     .help = "The model that is asked for, where the agent does not say."},
    {.name = "openai-ca-file",
     .env = "OPENAI_CA_FILE",
     .kind = CONF_STR,
     .offset = FIELD(openai_ca_file),
     .help = "Certificates to trust for providers instead of the system's."},
    {.name = "demo-rate",
     .kind = CONF_INT,
     .offset = FIELD(demo_rate),
     .min = 0,
     .max = 100000,
     .def = "40",
     .unit = "tokens/s",
     .help = "How fast the demo agent writes; 0: as fast as possible."},
    {.name = "exec-kill-ms",
     .kind = CONF_INT,
     .offset = FIELD(exec_kill_ms),
     .min = 1,
     .max = 600000,
     .def = "3000",
     .unit = "ms",
     .help = "Between SIGTERM and SIGKILL when an exec agent has to end."},
    {.name = "concurrency",
     .kind = CONF_INT,
     .offset = FIELD(concurrency),
     .min = 1,
     .max = 100000,
     .def = "64",
     .help = "Runs at the same time."},
    {.name = "flush-ms",
     .kind = CONF_INT,
     .offset = FIELD(flush_ms),
     .min = 0,
     .max = 1000,
     .def = "25",
     .unit = "ms",
     .help = "Tokens within this time go out as one; the first one goes at once."},
    {.name = "lease-ms",
     .kind = CONF_INT,
     .offset = FIELD(lease_ms),
     .min = 300,
     .max = 3600000,
     .def = "15000",
     .unit = "ms",
     .help = "After this silence of a worker others take its runs over."},
    {.name = "max-attempts",
     .kind = CONF_INT,
     .offset = FIELD(max_attempts),
     .min = 1,
     .max = 1000,
     .def = "3",
     .help = "Times that a run is tried: lost workers and errors of its agent that may "
             "be tried again."},
    {.name = "run-timeout-ms",
     .kind = CONF_INT,
     .offset = FIELD(run_timeout_ms),
     .min = 0,
     .max = 604800000,
     .def = "900000",
     .unit = "ms",
     .help = "A run that takes longer ends with an error; 0: no limit."},
    {.name = "run-max-bytes",
     .kind = CONF_INT,
     .offset = FIELD(run_max_bytes),
     .min = 1024,
     .max = 1024 * (int64_t)MIB,
     .def = "8388608",
     .unit = "bytes",
     .help = "What one run may write; then it ends with an error."},
    {.name = "run-max-events",
     .kind = CONF_INT,
     .offset = FIELD(run_max_events),
     .min = 16,
     .max = 1000000000,
     .def = "1000000",
     .help = "What one run may say, in pieces and steps; then it ends with an error."},
    {.name = "retry-ms",
     .kind = CONF_INT,
     .offset = FIELD(retry_ms),
     .min = 1,
     .max = 3600000,
     .def = "1000",
     .unit = "ms",
     .help = "Pause before a run is tried again whose agent says that this may help; it "
             "doubles each time, up to retry-max-ms, with jitter."},
    {.name = "retry-max-ms",
     .kind = CONF_INT,
     .offset = FIELD(retry_max_ms),
     .min = 1,
     .max = 86400000,
     .def = "60000",
     .unit = "ms",
     .help = "The longest such pause."},
    {.name = "run-buffer-bytes",
     .kind = CONF_INT,
     .offset = FIELD(run_buffer_bytes),
     .min = 4096,
     .max = 64 * MIB,
     .def = "1048576",
     .unit = "bytes",
     .help = "Waiting for Redis, per run; then the agent is paused."},
    {.name = "history-max-events",
     .kind = CONF_INT,
     .offset = FIELD(history_max_events),
     .min = 16,
     .max = 10000000,
     .def = "20000",
     .help = "Kept in a thread's log."},
    {.name = "history-max-bytes",
     .kind = CONF_INT,
     .offset = FIELD(history_max_bytes),
     .min = 65536,
     .max = 1024 * (int64_t)MIB,
     .def = "16777216",
     .unit = "bytes",
     .help = "Kept in a thread's log."},
    {.name = "history-ttl-s",
     .kind = CONF_INT,
     .offset = FIELD(history_ttl_s),
     .min = 1,
     .max = 31536000,
     .def = "86400",
     .unit = "s",
     .help = "How long a thread's log is kept after its last event."},
    {.name = "recall-s",
     .kind = CONF_INT,
     .offset = FIELD(recall_s),
     .min = 0,
     .max = 86400,
     .def = "120",
     .unit = "s",
     .help = "When Redis is another one (restart, failover), ends published so shortly "
             "before are published again."},
    {.name = "poll-ms",
     .kind = CONF_INT,
     .offset = FIELD(poll_ms),
     .min = 10,
     .max = 600000,
     .def = "2000",
     .unit = "ms",
     .help = "How often PostgreSQL is asked for work that no NOTIFY told of."},
    {.name = "drain-ms",
     .kind = CONF_INT,
     .offset = FIELD(drain_ms),
     .min = 100,
     .max = 3600000,
     .def = "10000",
     .unit = "ms",
     .help = "Within this time of a SIGTERM runs finish or are handed back."},
    {.name = "housekeeping-ms",
     .kind = CONF_INT,
     .offset = FIELD(housekeeping_ms),
     .min = 100,
     .max = 86400000,
     .def = "60000",
     .unit = "ms",
     .help = "How often what is too old is deleted, a little at a time."},
    {.name = "runs-retention-days",
     .kind = CONF_INT,
     .offset = FIELD(runs_retention_days),
     .min = 0,
     .max = 36500,
     .def = "0",
     .unit = "days",
     .help = "Runs that ended so long ago are deleted, their messages stay; 0: never."},
    {.name = "messages-retention-days",
     .kind = CONF_INT,
     .offset = FIELD(messages_retention_days),
     .min = 0,
     .max = 36500,
     .def = "0",
     .unit = "days",
     .help = "Messages so old are deleted, with their runs; 0: never."},
    {.name = "log-level",
     .env = "LOG_LEVEL",
     .kind = CONF_CHOICE,
     .offset = FIELD(log_level),
     .def = "info",
     .choices = "debug|info|warn|error",
     .help = "How much is logged."},
    {.name = "log-format",
     .env = "LOG_FORMAT",
     .kind = CONF_CHOICE,
     .offset = FIELD(log_format),
     .def = "text",
     .choices = "text|json",
     .help = "How it looks."},
};

static const char *const commands[] = {"migrate", NULL};

const struct conf_spec worker_conf_spec = {
    .program = "threadcast-worker",
    .about = "Runs agents and publishes what they do to Redis. "
             "`threadcast-worker migrate` prepares the database.",
    .env_prefix = "WORKER_",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .commands = commands,
};

struct agents_source worker_conf_agents(const struct worker_conf *c)
{
    return (struct agents_source){
        .standard = c->agent, .list = c->agents, .file = c->agents_file};
}

static bool check_agents(const struct worker_conf *c, struct buf *err)
{
    struct agents_source from = worker_conf_agents(c);
    struct agents *a = agents_new(&from, err);

    agents_free(a);
    return a != NULL;
}

bool worker_conf_validate(void *conf, struct buf *err)
{
    struct worker_conf *c = conf;

    if (!c->database_url) {
        buf_str(err, "--database-url (DATABASE_URL): is needed");
        return false;
    }
    struct buf why;
    buf_init(&why);
    bool ok =
        redis_url_parse(c->redis_url, &c->redis, &why) && redis_url_load(&c->redis, &why);
    if (!ok)
        buf_printf(err, "--redis-url (REDIS_URL): %s", why.data ? why.data : "no memory");
    buf_fini(&why);
    /* who only migrates runs no agents, and may not have their file */
    return ok && (c->command || check_agents(c, err));
}

void worker_conf_free(struct worker_conf *conf)
{
    redis_url_fini(&conf->redis);
    conf_free(&worker_conf_spec, conf);
}
