/* What came back from Postgres, and in which words it may be passed on. */
#include "common/pg_internal.h"

#include <stdlib.h>
#include <string.h>

static const PGresult *pg_unwrap(const struct pg_result *res)
{
    return (const PGresult *)(const void *)res;
}

int pg_rows(const struct pg_result *res)
{
    return PQntuples(pg_unwrap(res));
}

const char *pg_value(const struct pg_result *res, int row, int column)
{
    const PGresult *r = pg_unwrap(res);

    if (row < 0 || row >= PQntuples(r) || column < 0 || column >= PQnfields(r) ||
        PQgetisnull(r, row, column))
        return NULL;
    return PQgetvalue(r, row, column);
}

size_t pg_length(const struct pg_result *res, int row, int column)
{
    return pg_value(res, row, column) ? (size_t)PQgetlength(pg_unwrap(res), row, column)
                                      : 0;
}

int64_t pg_int(const struct pg_result *res, int row, int column)
{
    const char *value = pg_value(res, row, column);

    return value ? strtoll(value, NULL, 10) : 0;
}

bool pg_bool(const struct pg_result *res, int row, int column)
{
    const char *value = pg_value(res, row, column);

    return value && value[0] == 't';
}

int64_t pg_affected(const struct pg_result *res)
{
    return strtoll(PQcmdTuples((PGresult *)(uintptr_t)(const void *)res), NULL, 10);
}

void pg_one_line(const char *text, char *out, size_t size)
{
    size_t n = 0;

    for (; *text && n + 1 < size; text++) {
        char c = (unsigned char)*text < ' ' ? ' ' : *text;
        if (c == ' ' && (n == 0 || out[n - 1] == ' '))
            continue;
        out[n++] = c;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* The primary message only: detail and context repeat rows and parameters. Those of
 * class 22 (bad data) repeat the value behind a colon. */
void pg_result_text(const PGresult *res, char *out, size_t size)
{
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    char *value;

    pg_one_line(text ? text : PQresultErrorMessage(res), out, size);
    value = state && strncmp(state, "22", 2) == 0 ? strstr(out, ": \"") : NULL;
    if (value)
        *value = '\0';
}

/* The connection ends with such an error; nobody knows what became of the statement. */
bool pg_is_connection_state(const char *sqlstate)
{
    static const char *const states[] = {"57P01", "57P02", "57P03", "57P04", "57P05"};

    if (!sqlstate)
        return false;
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return strncmp(sqlstate, "08", 2) == 0;
}
