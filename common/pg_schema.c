/* The schema that a connection works in. Statements name it `threadcast.`, whatever it is
 * called: so they mean the same behind a transaction pooler, where no search_path of ours
 * lasts. Channels begin with it, because NOTIFY knows databases only. What migrations say
 * of themselves tells whether this program fits. */
#include "common/pg_internal.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STANDS_FOR "threadcast."

enum {
    NAME_MAX_BYTES = 63,  /* what Postgres keeps of a name */
    SHORT_MAX_BYTES = 48, /* of a schema, so that "<schema>.<channel>" fits */
    DIGEST_BYTES = 20,
};

bool pg_schema_check(const char *name, struct buf *err)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            len = 0;
    if (len >= 1 && len <= NAME_MAX_BYTES && strncmp(name, "pg_", 3) != 0 &&
        strcmp(name, "information_schema") != 0)
        return true;
    buf_str(err, "must be a schema's name: 1 to 63 bytes, none of PostgreSQL's own");
    return false;
}

void pg_quote(struct buf *out, const char *name)
{
    buf_char(out, '"');
    for (; *name; name++) {
        if (*name == '"')
            buf_char(out, '"');
        buf_char(out, *name);
    }
    buf_char(out, '"');
}

void pg_qualify(struct buf *out, const char *sql, const char *schema)
{
    const char *at;

    while (schema && (at = strstr(sql, STANDS_FOR))) {
        buf_add(out, sql, (size_t)(at - sql));
        pg_quote(out, schema);
        buf_char(out, '.');
        sql = at + strlen(STANDS_FOR);
    }
    buf_str(out, sql);
}

/* Before the channel's own name, with the dot; as channel() in db/0004_tenants.sql. */
void pg_channel_prefix(struct buf *out, const char *schema)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (strlen(schema) <= SHORT_MAX_BYTES) {
        buf_printf(out, "%s.", schema);
        return;
    }
    if (EVP_Digest(schema, strlen(schema), digest, NULL, EVP_sha256(), NULL) != 1) {
        out->failed = true;
        return;
    }
    for (int i = 0; i < DIGEST_BYTES; i++)
        buf_printf(out, "%02x", digest[i]);
    buf_char(out, '.');
}

/* The name that the owner asked for. */
const char *pg_channel_name(const struct pg *p, const char *channel)
{
    const char *dot = p->opt.schema ? strrchr(channel, '.') : NULL;

    return dot ? dot + 1 : channel;
}

/* `SELECT …` whose row pg_schema_judge reads. */
void pg_schema_question(struct buf *sql, const struct pg *p)
{
    if (!p->opt.schema || !p->opt.schema_version) {
        buf_str(sql, "SELECT pg_backend_pid()");
        return;
    }
    pg_qualify(sql,
               "SELECT pg_backend_pid(), coalesce(max(substring(name FROM "
               "'^[0-9]{4}')::int), 0),"
               " coalesce(max(compatible_from), 0) FROM threadcast.migrations",
               p->opt.schema);
}

/* No such table, column (before 0004), function; no right to any of it. */
static const char *hint_of(const char *sqlstate)
{
    if (!sqlstate)
        return "";
    if (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42703") == 0 ||
        strcmp(sqlstate, "3F000") == 0)
        return ": older than this program, run threadcast-worker migrate";
    if (strcmp(sqlstate, "42501") == 0)
        return ": run threadcast-worker migrate --grant for this role";
    return "";
}

static bool version_fits(const struct pg *p, char *why, size_t size)
{
    int64_t have = strtoll(PQgetvalue(p->result, 0, 1), NULL, 10);
    int64_t from = strtoll(PQgetvalue(p->result, 0, 2), NULL, 10);
    int mine = p->opt.schema_version;

    if (have < mine) {
        snprintf(why, size,
                 "schema %s has version %lld, older than this program's %d: run "
                 "threadcast-worker migrate",
                 p->opt.schema, (long long)have, mine);
        return false;
    }
    if (have > mine && from > mine) {
        snprintf(why, size,
                 "schema %s has version %lld and works with programs from %lld on, this "
                 "one's is %d: install a newer threadcast",
                 p->opt.schema, (long long)have, (long long)from, mine);
        return false;
    }
    return true;
}

/* A pooler tells its clients a process id of its own invention. */
static bool find_pooler(const struct pg *p)
{
    return strtoll(PQgetvalue(p->result, 0, 0), NULL, 10) != PQbackendPID(p->conn);
}

bool pg_schema_judge(struct pg *p, char *why, size_t size)
{
    char text[PG_WHY_SIZE / 2];
    const char *sqlstate = PQresultErrorField(p->result, PG_DIAG_SQLSTATE);

    if (PQresultStatus(p->result) != PGRES_TUPLES_OK || PQntuples(p->result) != 1) {
        pg_result_text(p->result, text, sizeof(text));
        snprintf(why, size, "%s%s", text, p->opt.schema_version ? hint_of(sqlstate) : "");
        return false;
    }
    p->is_pooled = find_pooler(p);
    if (p->is_pooled && !p->opt.pooled) {
        snprintf(why, size,
                 "a pooler stands between: set DATABASE_LISTEN_URL to the address of the "
                 "server itself");
        return false;
    }
    return PQnfields(p->result) < 3 || version_fits(p, why, size);
}
