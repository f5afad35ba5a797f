/* migrate: the numbered SQL files that are compiled in, each in one transaction with its
 * line in the table `migrations`, under an advisory lock, so that several may be started
 * at once. It is a command, not part of the daemon: it uses libpq and waits for it.
 * It must never run over a schema whose migrations are not the ones it knows. */
#include "worker/migrate.h"

#include "db_0001_init.h"
#include "worker/conf.h"

#include <libpq-fe.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct migration {
    const char *name;
    const char *sql;
    const size_t *len;
};

static const struct migration migrations[] = {
    {"0001_init", db_0001_init, &db_0001_init_len},
};
#define COUNT (sizeof(migrations) / sizeof(migrations[0]))

/* The lock's number: "threadca" read as one. */
#define LOCK "x'7468726561646361'::bigint"

static void complain(PGconn *c, const char *what)
{
    fprintf(stderr, "migrate: %s: %s", what, PQerrorMessage(c));
}

static void on_notice(void *arg, const char *message)
{
    (void)arg, (void)message; /* "already exists, skipping" */
}

static bool run(PGconn *c, const char *sql, const char *what)
{
    PGresult *res = PQexec(c, sql);
    ExecStatusType status = PQresultStatus(res);

    PQclear(res);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return true;
    complain(c, what);
    return false;
}

static void checksum(const struct migration *m, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    EVP_Digest(m->sql, *m->len, digest, &len, EVP_sha256(), NULL);
    for (unsigned i = 0; i < 32; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
}

static bool prepare(PGconn *c, const char *schema)
{
    char *name = PQescapeIdentifier(c, schema, strlen(schema));
    char sql[256];
    bool ok = name && run(c, "SET lock_timeout = '30s'", "settings") &&
              run(c, "SELECT pg_advisory_lock(" LOCK ")",
                  "another migration is under way, waited 30 s");

    if (ok) {
        snprintf(sql, sizeof(sql), "CREATE SCHEMA IF NOT EXISTS %s", name);
        ok = run(c, sql, "schema");
    }
    if (ok) {
        snprintf(sql, sizeof(sql), "SET search_path TO %s", name);
        ok = run(c, sql, "search_path");
    }
    PQfreemem(name);
    return ok && run(c,
                     "CREATE TABLE IF NOT EXISTS migrations ("
                     "name text PRIMARY KEY, checksum text NOT NULL, "
                     "applied_at timestamptz NOT NULL DEFAULT now())",
                     "table of migrations");
}

enum found { FOUND_NOT, FOUND_SAME, FOUND_OTHER, FOUND_ERROR };

static enum found look(PGconn *c, const char *name, const char *sum)
{
    const char *params[] = {name};
    PGresult *res = PQexecParams(c, "SELECT checksum FROM migrations WHERE name = $1", 1,
                                 NULL, params, NULL, NULL, 0);
    enum found f = FOUND_NOT;

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        complain(c, name);
        f = FOUND_ERROR;
    } else if (PQntuples(res) > 0) {
        f = strcmp(PQgetvalue(res, 0, 0), sum) == 0 ? FOUND_SAME : FOUND_OTHER;
    }
    PQclear(res);
    return f;
}

static bool note(PGconn *c, const char *name, const char *sum)
{
    const char *params[] = {name, sum};
    PGresult *res = PQexecParams(
        c, "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", 2, NULL, params,
        NULL, NULL, 0);
    bool ok = PQresultStatus(res) == PGRES_COMMAND_OK;

    PQclear(res);
    if (!ok)
        complain(c, name);
    return ok;
}

static bool apply(PGconn *c, const struct migration *m)
{
    char sum[65];

    checksum(m, sum);
    switch (look(c, m->name, sum)) {
    case FOUND_SAME:
        printf("migrate: %s was there\n", m->name);
        return true;
    case FOUND_OTHER:
        fprintf(stderr,
                "migrate: %s was applied with another content; this program does not "
                "fit the database\n",
                m->name);
        return false;
    case FOUND_ERROR:
        return false;
    case FOUND_NOT:
        break;
    }
    if (!run(c, "BEGIN", m->name) || !run(c, m->sql, m->name) || !note(c, m->name, sum) ||
        !run(c, "COMMIT", m->name))
        return false;
    printf("migrate: %s applied\n", m->name);
    return true;
}

int migrate(const struct worker_conf *conf)
{
    const char *keys[] = {"dbname", "application_name", "connect_timeout", NULL};
    const char *values[] = {conf->database_url, "threadcast-migrate", "10", NULL};
    PGconn *c = PQconnectdbParams(keys, values, 1);
    bool ok = PQstatus(c) == CONNECTION_OK;

    if (!ok)
        complain(c, "cannot connect");
    PQsetNoticeProcessor(c, on_notice, NULL);
    ok = ok && prepare(c, conf->database_schema);
    for (size_t i = 0; ok && i < COUNT; i++)
        ok = apply(c, &migrations[i]);
    if (ok)
        printf("migrate: schema %s is up to date\n", conf->database_schema);
    PQfinish(c); /* ends an open transaction and the lock with it */
    return ok ? 0 : 1;
}
