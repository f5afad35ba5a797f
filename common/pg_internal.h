/* What the files of one Postgres connection share. Nobody outside pg*.c includes it. */
#ifndef THREADCAST_PG_INTERNAL_H
#define THREADCAST_PG_INTERNAL_H

#include "common/buf.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/pg.h"

#include <event2/util.h>
#include <libpq-fe.h>

#define PG_WHY_SIZE 400
#define PG_HOSTS_MAX 8 /* hosts in one URL */

enum { LISTEN_ASK_MS = 3000 };

struct event;
struct resolve;

/* One statement, its text and parameters in one piece of memory. */
struct pg_statement {
    struct list node;
    pg_fn *fn;
    void *arg;
    int64_t deadline_ms; /* by clock_ms */
    bool script;
    int nparams;
    const char *sql;
    const char *params[];
};

/* DATABASE_URL as libpq wants it, with what we add. */
struct pg_conninfo {
    char **keywords, **values; /* NULL-terminated, owned */
    size_t count, cap;
    bool failed; /* no memory */
};

/* The hosts of the URL on their way to numeric addresses. */
struct pg_hosts {
    char *names[PG_HOSTS_MAX], *addresses[PG_HOSTS_MAX], *ports[PG_HOSTS_MAX];
    size_t count, next;
    struct buf host, hostaddr, port; /* what libpq gets */
    size_t made;                     /* entries in them */
};

struct pg {
    struct loop *loop;
    struct pg_options opt; /* defaults filled in; strings are ours */
    struct pg_events ev;
    void *arg;

    enum pg_state state;
    struct pg_conninfo conninfo;
    struct pg_hosts hosts;
    struct resolve *resolve;
    PGconn *conn;
    struct event *io; /* connecting: once for each poll; then reading, persistent */
    struct event *writing;
    struct event *later; /* send the next, finish going down: soon, from the loop */
    struct timer *retry, *connect, *deadline;
    struct timer *still;    /* where it listens: asks whether somebody is there */
    int64_t deadline_at_ms; /* when the deadline timer fires */
    struct backoff backoff;

    struct list waiting;
    size_t queued; /* waiting and running */
    struct pg_statement *running;
    bool is_pooled;   /* as found when it was set up */
    bool setting_up;  /* the statements before READY are running */
    PGresult *result; /* of what is running: the first error, else the last */

    int depth;         /* how many of our callbacks are on the stack */
    bool down_pending; /* lost; callers are told when depth is 0 */
    bool freed;        /* by the owner; memory goes when depth is 0 */
    char why[PG_WHY_SIZE];
    char fatal[PG_WHY_SIZE]; /* what the server said before it hung up */
    int64_t ready_ms;
    struct pg_counters counters;
};

/* pg.c: the only way down, and the brackets around all that may call the owner */
void pg_lose(struct pg *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pg_enter(struct pg *p);
void pg_leave(struct pg *p);
bool pg_alive(const struct pg *p);

/* pg_conninfo.c */
bool pg_conninfo_make(struct pg_conninfo *c, const struct pg_options *o, struct buf *err);
const char *pg_conninfo_get(const struct pg_conninfo *c, const char *keyword);
void pg_conninfo_set(struct pg_conninfo *c, const char *keyword, const char *value);
void pg_conninfo_fini(struct pg_conninfo *c);

/* pg_hosts.c */
bool pg_hosts_start(struct pg_hosts *h, const struct pg_conninfo *c, struct buf *err);
bool pg_hosts_named(const struct pg_hosts *h); /* the next one must be resolved */
void pg_hosts_add(struct pg_hosts *h, const char *address); /* NULL: as it is */
void pg_hosts_store(const struct pg_hosts *h, struct pg_conninfo *c);
void pg_hosts_fini(struct pg_hosts *h);

/* pg_connect.c */
void pg_on_retry(void *arg);
void pg_on_connect_timeout(void *arg);
void pg_ready(struct pg *p);
void pg_add_listen(struct buf *sql, const struct pg *p); /* on all its channels */
bool pg_setup(struct pg *p); /* sends what comes before READY */

/* pg_schema.c */
void pg_quote(struct buf *out, const char *name);
void pg_qualify(struct buf *out, const char *sql, const char *schema);
void pg_channel_prefix(struct buf *out, const char *schema);
const char *pg_channel_name(const struct pg *p, const char *channel); /* borrows */
void pg_schema_question(struct buf *sql, const struct pg *p);
/* p->result is its answer. false: not READY, `why` says so. */
bool pg_schema_judge(struct pg *p, char *why, size_t size);

/* pg_query.c */
void pg_pump(struct pg *p);  /* sends the next statement when there is none */
void pg_flush(struct pg *p); /* and writes again when the socket takes it */
void pg_on_readable(evutil_socket_t fd, short what, void *arg);
void pg_on_deadline(void *arg);
void pg_on_still(void *arg);
void pg_finish(struct pg *p, struct pg_statement *s, enum pg_outcome outcome,
               const PGresult *res, const char *sqlstate, const char *message);

/* pg_result.c: one printable line without parameters or passwords */
void pg_one_line(const char *text, char *out, size_t size);
void pg_result_text(const PGresult *res, char *out, size_t size);
bool pg_is_connection_state(const char *sqlstate);

#endif
