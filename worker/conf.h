/* conf: the options of threadcast-worker. The table in conf.c is what --help prints. */
#ifndef THREADCAST_WORKER_CONF_H
#define THREADCAST_WORKER_CONF_H

#include "common/conf.h"
#include "common/redis.h"
#include "worker/agents.h"

#include <stdbool.h>
#include <stdint.h>

/* Where openai agents ask when nobody says where. */
#define OPENAI_BASE_URL "https://api.openai.com/v1"

struct worker_conf {
    /* where */
    char *redis_url, *redis_prefix, *tls_ca_file;
    char *database_url, *database_listen_url, *database_schema;
    int64_t migrate_lock_timeout_ms, migrate_tries;
    char *grant; /* NULL: no roles */
    int64_t database_pool, publishers;
    char *metrics_listen; /* NULL: off */
    /* agents */
    char *agent, *agents, *agents_file;
    char *openai_base_url, *openai_api_key, *openai_model, *openai_ca_file;
    int64_t demo_rate;    /* tokens a second; 0: as fast as possible */
    int64_t exec_kill_ms; /* between SIGTERM and SIGKILL */
    /* runs */
    int64_t concurrency, flush_ms, lease_ms, max_attempts, run_timeout_ms;
    int64_t run_max_bytes, run_max_events, run_buffer_bytes;
    int64_t retry_ms, retry_max_ms; /* the pause before an agent is tried again */
    int64_t history_max_events, history_max_bytes, history_ttl_s, recall_s;
    /* process */
    int64_t poll_ms, drain_ms;
    int64_t housekeeping_ms, runs_retention_days, messages_retention_days; /* 0: never */
    int log_level, log_format;
    const char *command; /* the first argument, or NULL: borrowed */
    /* made by worker_conf_validate */
    struct redis_url redis;
};

extern const struct conf_spec worker_conf_spec;
bool worker_conf_validate(void *conf, struct buf *err);
/* Who says which agents there are; borrows from `c`. */
struct agents_source worker_conf_agents(const struct worker_conf *c);
void worker_conf_free(struct worker_conf *conf);

#endif
