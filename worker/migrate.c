/* migrate: the numbered SQL files that are compiled in, each in one transaction with its
 * line in the table `migrations`, under an advisory lock, so that several may be started
 * at once. A temporary function does it, so that each file is one statement here.
 * It must never run over a schema whose migrations are not the ones it knows. */
#include "worker/migrate.h"

#include "common/loop.h"
#include "common/pg.h"
#include "db_0001_init.h"
#include "db_0002_durable.h"
#include "db_0003_forgotten.h"
#include "worker/conf.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, APPLY_MS = 600000 };

struct migration {
    const char *name;
    const char *sql;
    const size_t *len;
};

static const struct migration migrations[] = {
    {"0001_init", db_0001_init, &db_0001_init_len},
    {"0002_durable", db_0002_durable, &db_0002_durable_len},
    {"0003_forgotten", db_0003_forgotten, &db_0003_forgotten_len},
};
#define COUNT (sizeof(migrations) / sizeof(migrations[0]))

/* The lock's number: "threadca" read as one. */
static const char prepare_sql[] =
    "CREATE OR REPLACE FUNCTION pg_temp.migrate(p_schema text, p_name text, p_sum text, "
    "p_sql text) RETURNS text LANGUAGE plpgsql AS $$\n"
    "DECLARE v_sum text;\n"
    "BEGIN\n"
    "PERFORM set_config('lock_timeout', '30s', true);\n"
    "PERFORM pg_advisory_xact_lock(x'7468726561646361'::bigint);\n"
    "IF to_regnamespace(quote_ident(p_schema)) IS NULL THEN\n"
    "    EXECUTE format('CREATE SCHEMA %I', p_schema);\n"
    "END IF;\n"
    "PERFORM set_config('search_path', quote_ident(p_schema), true);\n"
    "IF to_regclass(format('%I.migrations', p_schema)) IS NULL THEN\n"
    "    EXECUTE 'CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT "
    "NULL, '\n"
    "            'applied_at timestamptz NOT NULL DEFAULT now())';\n"
    "END IF;\n"
    "EXECUTE 'SELECT checksum FROM migrations WHERE name = $1' INTO v_sum USING p_name;\n"
    "IF v_sum IS NOT NULL THEN\n"
    "    RETURN CASE v_sum WHEN p_sum THEN 'was there' ELSE 'other' END;\n"
    "END IF;\n"
    "EXECUTE p_sql;\n"
    "EXECUTE 'INSERT INTO migrations (name, checksum) VALUES ($1, $2)'\n"
    "    USING p_name, p_sum;\n"
    "RETURN 'applied';\n"
    "END $$";

struct migrating {
    const struct worker_conf *conf;
    struct loop *loop;
    struct pg *pg;
    size_t next; /* migration */
    int status;
    char why[256]; /* the last reason why there is no connection */
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

static void apply_next(struct migrating *m);

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

static void on_applied(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct migrating *m = arg;
    const char *name = migrations[m->next].name;

    if (!succeeded(m, outcome, err))
        return;
    if (strcmp(pg_value(res, 0, 0), "other") == 0) {
        fprintf(stderr,
                "migrate: %s was applied with another content; this program does not "
                "fit the database\n",
                name);
        stop(m, 1);
        return;
    }
    printf("migrate: %s %s\n", name, pg_value(res, 0, 0));
    m->next++;
    apply_next(m);
}

static void apply_next(struct migrating *m)
{
    char sum[65];
    const char *params[4];

    if (m->next == COUNT) {
        printf("migrate: schema %s is up to date\n", m->conf->database_schema);
        stop(m, 0);
        return;
    }
    checksum(&migrations[m->next], sum);
    params[0] = m->conf->database_schema;
    params[1] = migrations[m->next].name;
    params[2] = sum;
    params[3] = migrations[m->next].sql;
    if (!pg_query(m->pg, "SELECT pg_temp.migrate($1, $2, $3, $4)", 4, params, APPLY_MS,
                  on_applied, m))
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

static void on_down(struct pg *p, const char *why, void *arg)
{
    struct migrating *m = arg;

    (void)p;
    snprintf(m->why, sizeof(m->why), "%s", why);
}

int migrate(const struct worker_conf *conf)
{
    static const struct pg_events events = {.on_down = on_down};
    struct migrating m = {.conf = conf, .loop = loop_new(), .status = 1};
    /* what is temporary needs one session: not through a transaction pooler */
    struct pg_options o = {.url = conf->database_listen_url ? conf->database_listen_url
                                                            : conf->database_url,
                           .schema = conf->database_schema,
                           .name = "threadcast-migrate"};

    if (m.loop)
        m.pg = pg_new(m.loop, &o, &events, &m);
    if (m.pg && pg_query(m.pg, prepare_sql, 0, NULL, CONNECT_MS, on_prepared, &m))
        loop_run(m.loop);
    else
        fprintf(stderr, "migrate: cannot start\n");
    if (m.pg)
        pg_free(m.pg);
    loop_free(m.loop);
    return m.status;
}
