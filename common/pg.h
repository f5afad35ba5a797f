/* pg: one Postgres connection over asynchronous libpq, reconnected by itself; and a
 * small pool of them. Parameters only, one statement a call, a deadline for each.
 * Its files are the only ones that see libpq. Names are resolved without blocking. */
#ifndef THREADCAST_PG_H
#define THREADCAST_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct loop;
struct pg;

/* The newest of db/: what programs need the schema to be at. */
enum { SCHEMA_VERSION = 5 };

/* Whether DATABASE_URL can be understood; if not, words in `err` that never repeat it. */
bool pg_url_check(const char *url, struct buf *err);
/* Whether a schema may be called that. */
bool pg_schema_check(const char *name, struct buf *err);

enum pg_state { PG_WAITING, PG_CONNECTING, PG_READY };

struct pg_options {
    const char *url;    /* copied; postgres://… or key=value, as libpq has it */
    const char *schema; /* copied; `threadcast.` in statements, the search_path, and what
                           goes before `listen`'s channels; NULL: none of that */
    const char *name;   /* application_name; copied */
    const char *listen; /* channels to LISTEN on, separated by commas, or NULL; copied */
    int schema_version; /* what the schema must be at or fit to, else not READY; 0: any */
    bool pooled; /* maybe by transactions: nothing is left in the session. Otherwise a
                    pooler is refused: LISTEN would be lost in it without a word */
    int64_t connect_ms; /* 0: 5,000 */
    int64_t backoff_ms; /* 0: 2,000 */
    size_t queue_max;   /* statements waiting; 0: 10,000 */
};

/* News for the owner. Any may be NULL. Called from the loop, never from inside a call of
 * the owner's. on_down comes for every try that failed and for every READY that ended. */
struct pg_events {
    void (*on_ready)(struct pg *p, void *arg); /* LISTEN is done before */
    void (*on_down)(struct pg *p, const char *why, void *arg);
    void (*on_notify)(struct pg *p, const char *channel, const char *payload, void *arg);
};

/* A result, borrowed for the time of the callback. Values are text; NULL is SQL NULL. */
struct pg_result;
int pg_rows(const struct pg_result *res);
const char *pg_value(const struct pg_result *res, int row, int column);
size_t pg_length(const struct pg_result *res, int row, int column);
int64_t pg_int(const struct pg_result *res, int row, int column); /* 0 when NULL */
bool pg_bool(const struct pg_result *res, int row, int column);
int64_t pg_affected(const struct pg_result *res);

enum pg_outcome {
    PG_OK,
    PG_FAILED, /* Postgres refused it: `sqlstate` and `message` say why; not carried out
                */
    PG_LOST, /* connection lost or deadline passed: unknown whether it was carried out */
    PG_UNSENT, /* never sent: the connection was lost or the deadline passed before */
};

struct pg_error {
    char sqlstate[6];
    const char *message; /* one line, borrowed, without the statement's parameters */
};

/* res is NULL unless PG_OK; err is NULL on PG_OK. */
typedef void pg_fn(enum pg_outcome outcome, const struct pg_result *res,
                   const struct pg_error *err, void *arg);

/* What happened since pg_new. */
struct pg_counters {
    uint64_t ready;        /* times it became READY */
    uint64_t failed, lost; /* tries that did not get READY; READY ones that ended */
    uint64_t statements;   /* sent */
    uint64_t expired;      /* deadlines passed, sent or not */
    uint64_t refused;      /* statements the queue's limit turned away */
};

struct pg *pg_new(struct loop *l, const struct pg_options *o, const struct pg_events *ev,
                  void *arg);
/* From anywhere, its own callbacks included. Waiting statements get PG_LOST or PG_UNSENT
 * before it returns, then nothing is called any more. */
void pg_free(struct pg *p);
const struct pg_counters *pg_counters(const struct pg *p);
enum pg_state pg_state(const struct pg *p);
bool pg_is_pooled(const struct pg *p); /* a pooler stands between, said the last READY */
void pg_drop(struct pg *p, const char *why); /* goes down, and is built anew */
size_t pg_queued(const struct pg *p);

/* Queues one statement; `threadcast.` in it becomes the schema's name. `params` are text
 * values (NULL: SQL NULL), copied. It waits while the connection is down, until
 * `deadline_ms` from now. false: the queue is full or no memory; `fn` is then not called.
 * Otherwise exactly once, from the loop. A statement whose deadline passes while it runs
 * makes the connection be dropped and built anew. */
bool pg_query(struct pg *p, const char *sql, int nparams, const char *const *params,
              int64_t deadline_ms, pg_fn *fn, void *arg);

/* The same for several statements without parameters, in one implicit transaction, as
 * migrations need them; `fn` gets the last one's result or the first error. */
bool pg_script(struct pg *p, const char *sql, int64_t deadline_ms, pg_fn *fn, void *arg);

/* A pool: n connections, a statement goes to a ready one with the shortest queue. */
struct pg_pool;
struct pg_pool *pg_pool_new(struct loop *l, const struct pg_options *o, int n);
void pg_pool_free(struct pg_pool *pool);
bool pg_pool_query(struct pg_pool *pool, const char *sql, int nparams,
                   const char *const *params, int64_t deadline_ms, pg_fn *fn, void *arg);
bool pg_pool_ready(const struct pg_pool *pool); /* at least one connection is */
/* `fn` hears when the first connection is ready, when none is any more, and why tries
 * fail while none is (once for each reason; `why` is NULL when ready). */
void pg_pool_on_change(struct pg_pool *pool,
                       void (*fn)(bool ready, const char *why, void *arg), void *arg);
void pg_pool_counters(const struct pg_pool *pool, struct pg_counters *ret_sum);

#endif
