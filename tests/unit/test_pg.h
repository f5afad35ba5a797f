/* Stands in for pg.c where a test must choose the moment of an answer: questions wait
 * here until the test answers them. What real Postgres says is for the end-to-end tests.
 */
#ifndef THREADCAST_TEST_PG_H
#define THREADCAST_TEST_PG_H

#include "common/pg.h"

#include <stdio.h>
#include <string.h>

struct pg_result {
    int rows;
    const char *value; /* NULL: SQL NULL */
};

#define QUESTIONS_MAX 64
static struct {
    char id[160], sub[300];
    pg_fn *fn;
    void *arg;
} asked[QUESTIONS_MAX];
static int asked_count; /* all that were ever asked */
static bool pg_full;    /* refuse further ones */

bool pg_pool_query(struct pg_pool *pool, const char *sql, int nparams,
                   const char *const *params, int64_t deadline_ms, pg_fn *fn, void *arg)
{
    (void)pool;
    if (pg_full || asked_count == QUESTIONS_MAX || nparams != 2 || deadline_ms <= 0 ||
        strcmp(sql, "SELECT owner = $2 FROM threadcast.threads WHERE id = $1") != 0)
        return false;
    snprintf(asked[asked_count].id, sizeof(asked[0].id), "%s", params[0]);
    snprintf(asked[asked_count].sub, sizeof(asked[0].sub), "%s", params[1]);
    asked[asked_count].fn = fn;
    asked[asked_count].arg = arg;
    asked_count++;
    return true;
}

int pg_rows(const struct pg_result *res)
{
    return res->rows;
}

const char *pg_value(const struct pg_result *res, int row, int column)
{
    (void)row, (void)column;
    return res->value;
}

bool pg_bool(const struct pg_result *res, int row, int column)
{
    (void)row, (void)column;
    return res->value && res->value[0] == 't';
}

/* rows 0 or 1; value "t", "f" or NULL */
static inline void pg_answer(int index, int rows, const char *value)
{
    struct pg_result res = {rows, value};
    pg_fn *fn = asked[index].fn;
    asked[index].fn = NULL; /* once */
    fn(PG_OK, &res, NULL, asked[index].arg);
}

static inline void pg_fail(int index, enum pg_outcome outcome)
{
    struct pg_error err = {"57014", "gone"};
    asked[index].fn(outcome, NULL, &err, asked[index].arg);
}

#endif
