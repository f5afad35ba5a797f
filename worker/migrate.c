/* migrate: the numbered SQL files that are compiled in, each in one transaction with its
 * line in the table `migrations`, under an advisory lock, so that several may be started
 * at once. Temporary functions (migrate.sql) do it, so that each file, and the rights at
 * the end, are one statement here. A lock is waited for shortly and often: whoever comes
 * behind a waiting ALTER waits with it. It must never run over a schema whose migrations
 * are not the ones it knows. */
#include "worker/migrate.h"

#include "common/buf.h"
#include "common/loop.h"
#include "common/pg.h"
#include "db_0001_init.h"
#include "db_0002_durable.h"
#include "db_0003_forgotten.h"
#include "db_0004_tenants.h"
#include "db_0005_agents.h"
#include "migrate_sql.h"
#include "worker/conf.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, APPLY_MS = 600000, PAUSE_MAX_MS = 1000 };

/* compatible_from: the oldest programs that still work over it, by the number of the last
 * migration they know. What would make it higher waits for a version in which nothing
 * uses what it takes away (expand, then contract). */
struct migration {
    const char *name;
    const char *sql;
    const size_t *len;
    int compatible_from;
};

static const struct migration migrations[] = {
    {"0001_init", db_0001_init, &db_0001_init_len, 1},
    {"0002_durable", db_0002_durable, &db_0002_durable_len, 1},
    {"0003_forgotten", db_0003_forgotten, &db_0003_forgotten_len, 1},
    {"0004_tenants", db_0004_tenants, &db_0004_tenants_len, 1},
    {"0005_agents", db_0005_agents, &db_0005_agents_len, 1},
};
#define COUNT (sizeof(migrations) / sizeof(migrations[0]))
static_assert(COUNT == SCHEMA_VERSION, "SCHEMA_VERSION (common/pg.h) is the last one");

struct migrating {
    const struct worker_conf *conf;
    struct loop *loop;
    struct pg *pg;
    struct timer *again;
    size_t next; /* migration */
    int64_t tries;
    int status;
    bool said;      /* that it is up to date */
    char why[256];  /* the last reason why there is no connection */
    char held[256]; /* who held a lock at the last try */
};

static void stop(struct migrating *m, int status)
{
    m->status = status;
    loop_stop(m->loop);
}

static void checksum(const struct migration *mig, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    EVP_Digest(mig->sql, *mig->len, digest, &len, EVP_sha256(), NULL);
    for (unsigned i = 0; i < 32; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
}

static bool succeeded(struct migrating *m, enum pg_outcome outcome,
                      const struct pg_error *err)
{
    switch (outcome) {
    case PG_OK:
        return true;
    case PG_FAILED:
        fprintf(stderr, "migrate: %s: %s\n", err->sqlstate, err->message);
        break;
    case PG_LOST:
        fprintf(stderr, "migrate: the connection was lost%s%s\n", m->why[0] ? ": " : "",
                m->why);
        break;
    case PG_UNSENT:
        fprintf(stderr, "migrate: cannot connect%s%s\n", m->why[0] ? ": " : "", m->why);
        break;
    }
    stop(m, 1);
    return false;
}

/* --- roles --- */

static bool next_grant(const char **list, const char **ret_role, size_t *ret_len)
{
    static const char *const parts[] = {"bridge=", "worker=", "app="};
    size_t len = strcspn(*list, ",");

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        size_t head = strlen(parts[i]);
        if (len > head && len <= head + 63 && strncmp(*list, parts[i], head) == 0) {
            *ret_role = *list + head;
            *ret_len = len - head;
            *list += len;
            return true;
        }
    }
    return false;
}

bool migrate_grant_check(const char *value, struct buf *err)
{
    const char *role;
    size_t len;

    while (next_grant(&value, &role, &len)) {
        if (!*value)
            return true;
        value++; /* the comma */
    }
    buf_str(err, "must be bridge=<role>,worker=<role>,app=<role>, or some of these");
    return false;
}

/* --- one after the other --- */

static void apply_next(struct migrating *m);

static void on_again(void *arg)
{
    apply_next(arg);
}

static void try_again(struct migrating *m, const char *name, const char *held)
{
    int64_t pause_ms = m->conf->migrate_lock_timeout_ms;

    if (++m->tries >= m->conf->migrate_tries) {
        fprintf(stderr, "migrate: %s: %s, given up after %lld tries\n", name, held,
                (long long)m->tries);
        stop(m, 1);
        return;
    }
    if (strcmp(m->held, held) != 0) {
        fprintf(stderr, "migrate: %s: %s, trying again\n", name, held);
        snprintf(m->held, sizeof(m->held), "%s", held);
    }
    timer_start(m->again, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
}

static void on_granted(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct migrating *m = arg;

    if (!succeeded(m, outcome, err))
        return;
    if (strncmp(pg_value(res, 0, 0), "locked", 6) == 0) {
        try_again(m, "grant", pg_value(res, 0, 0));
        return;
    }
    printf("migrate: granted %s\n", m->conf->grant);
    stop(m, 0);
}

static void grant(struct migrating *m)
{
    char lock_ms[24];
    const char *params[] = {m->conf->database_schema, m->conf->grant, lock_ms};

    snprintf(lock_ms, sizeof(lock_ms), "%lld",
             (long long)m->conf->migrate_lock_timeout_ms);
    if (!pg_query(m->pg, "SELECT pg_temp.migrate_grants($1, $2, $3)", 3, params, APPLY_MS,
                  on_granted, m))
        stop(m, 1);
}

static void all_applied(struct migrating *m)
{
    if (!m->said) /* once, however often it is tried to grant */
        printf("migrate: schema %s is up to date\n", m->conf->database_schema);
    m->said = true;
    if (m->conf->grant)
        grant(m);
    else
        stop(m, 0);
}

static void on_applied(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct migrating *m = arg;
    const char *name = migrations[m->next].name, *said;

    if (!succeeded(m, outcome, err))
        return;
    said = pg_value(res, 0, 0);
    if (strncmp(said, "locked", 6) == 0) {
        try_again(m, name, said);
    } else if (strcmp(said, "other") == 0) {
        fprintf(stderr,
                "migrate: %s was applied with another content; this program does not "
                "fit the database\n",
                name);
        stop(m, 1);
    } else {
        printf("migrate: %s %s\n", name, said);
        m->next++;
        apply_next(m);
    }
}

static void apply_next(struct migrating *m)
{
    const struct migration *mig = &migrations[m->next];
    char sum[65], from[12], lock_ms[24];
    const char *params[] = {m->conf->database_schema, NULL, sum, from, NULL, lock_ms};

    if (m->next == COUNT) {
        all_applied(m);
        return;
    }
    checksum(mig, sum);
    snprintf(from, sizeof(from), "%d", mig->compatible_from);
    snprintf(lock_ms, sizeof(lock_ms), "%lld",
             (long long)m->conf->migrate_lock_timeout_ms);
    params[1] = mig->name;
    params[4] = mig->sql;
    if (!pg_query(m->pg, "SELECT pg_temp.migrate($1, $2, $3, $4::int, $5, $6)", 6, params,
                  APPLY_MS, on_applied, m))
        stop(m, 1);
}

static void on_prepared(enum pg_outcome outcome, const struct pg_result *res,
                        const struct pg_error *err, void *arg)
{
    struct migrating *m = arg;

    (void)res;
    if (succeeded(m, outcome, err))
        apply_next(m);
}

/* Through a pooler no try is better than the first: pg_free says why to whoever waits. */
static void on_down(struct pg *p, const char *why, void *arg)
{
    struct migrating *m = arg;

    snprintf(m->why, sizeof(m->why), "%s", why);
    if (!strstr(why, "DATABASE_LISTEN_URL"))
        return;
    m->pg = NULL;
    pg_free(p);
}

int migrate(const struct worker_conf *conf)
{
    static const struct pg_events events = {.on_down = on_down};
    struct migrating m = {.conf = conf, .loop = loop_new(), .status = 1};
    /* what is temporary needs one session: not through a transaction pooler, unless
     * somebody says that it pools by sessions */
    struct pg_options o = {.url = conf->database_listen_url ? conf->database_listen_url
                                                            : conf->database_url,
                           .schema = conf->database_schema,
                           .pooled = conf->database_listen_url != NULL,
                           .name = "threadcast-migrate"};

    if (m.loop && (m.again = timer_new(m.loop, on_again, &m)))
        m.pg = pg_new(m.loop, &o, &events, &m);
    if (m.pg && pg_script(m.pg, migrate_sql, CONNECT_MS, on_prepared, &m))
        loop_run(m.loop);
    else
        fprintf(stderr, "migrate: cannot start\n");
    if (m.pg)
        pg_free(m.pg);
    timer_free(m.again);
    loop_free(m.loop);
    return m.status;
}
