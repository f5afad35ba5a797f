/* Statements wait in one list and run one at a time:
 *
 *   pg_query ─▶ waiting ─pump─▶ running ─▶ PQgetResult … NULL ─▶ fn ─▶ pump
 *
 * The deadline of one that runs takes the connection with it: there is no way to cancel
 * without blocking, and a late answer must not be taken for the next one's. */
#include "common/pg_internal.h"

#include "common/clock.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

enum { LISTEN_ANSWER_MS = 5000 };

void pg_finish(struct pg *p, struct pg_statement *s, enum pg_outcome outcome,
               const PGresult *res, const char *sqlstate, const char *message)
{
    struct pg_error err = {.message = message};

    if (sqlstate)
        memccpy(err.sqlstate, sqlstate, '\0', sizeof(err.sqlstate) - 1);
    p->queued--;
    if (s->fn)
        s->fn(outcome,
              outcome == PG_OK ? (const struct pg_result *)(const void *)res : NULL,
              outcome == PG_OK ? NULL : &err, s->arg);
    free(s);
}

/* --- sending --- */

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct pg *p = arg;

    (void)fd;
    (void)what;
    pg_enter(p);
    if (pg_alive(p))
        pg_flush(p);
    pg_leave(p);
}

void pg_flush(struct pg *p)
{
    char text[PG_WHY_SIZE];
    int left = PQflush(p->conn);

    if (left < 0) {
        pg_one_line(PQerrorMessage(p->conn), text, sizeof(text));
        pg_lose(p, "%s", text);
        return;
    }
    if (left == 0)
        return;
    if (!p->writing)
        p->writing =
            event_new(loop_base(p->loop), PQsocket(p->conn), EV_WRITE, on_writable, p);
    if (!p->writing || event_add(p->writing, NULL) < 0)
        pg_lose(p, "no memory");
}

static bool statement_send(struct pg *p, const struct pg_statement *s)
{
    return s->script ? PQsendQuery(p->conn, s->sql) == 1
                     : PQsendQueryParams(p->conn, s->sql, s->nparams, NULL, s->params,
                                         NULL, NULL, 0) == 1;
}

/* Sends it, or says that it cannot be sent. */
static void start(struct pg *p, struct pg_statement *s)
{
    char text[PG_WHY_SIZE];

    if (s->deadline_ms <= clock_ms()) {
        p->counters.expired++;
        pg_finish(p, s, PG_UNSENT, NULL, NULL, "its deadline passed before it was sent");
        return;
    }
    if (statement_send(p, s)) {
        p->running = s;
        p->counters.statements++;
        pg_flush(p);
        return;
    }
    pg_one_line(PQerrorMessage(p->conn), text, sizeof(text));
    if (PQstatus(p->conn) == CONNECTION_BAD) { /* it goes on waiting, as the first */
        list_push(p->waiting.next, &s->node);
        pg_lose(p, "%s", text);
    } else {
        pg_finish(p, s, PG_FAILED, NULL, NULL, text);
    }
}

void pg_pump(struct pg *p)
{
    struct list *node;

    while (pg_alive(p) && p->state == PG_READY && !p->running &&
           (node = list_pop(&p->waiting)))
        start(p, LIST_ITEM(node, struct pg_statement, node));
}

/* --- receiving --- */

static void setup_done(struct pg *p)
{
    char why[PG_WHY_SIZE];

    p->setting_up = false;
    if (pg_schema_judge(p, why, sizeof(why)))
        pg_ready(p);
    else
        pg_lose(p, "%s", why);
}

/* All results of what was running are there. */
static void results_done(struct pg *p)
{
    PGresult *res = p->result;
    ExecStatusType status = PQresultStatus(res);
    const char *sqlstate = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    struct pg_statement *s = p->running;
    char text[PG_WHY_SIZE];
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
              status == PGRES_EMPTY_QUERY;

    if (p->setting_up) {
        setup_done(p);
    } else if (!ok && (PQstatus(p->conn) == CONNECTION_BAD || !sqlstate ||
                       pg_is_connection_state(sqlstate))) {
        pg_result_text(res, text, sizeof(text));
        pg_lose(p, "%s", text[0] ? text : "an answer that is none");
        return; /* going down tells the statement, with this result's state */
    } else if (s) {
        p->running = NULL;
        p->result = NULL;
        if (!ok)
            pg_result_text(res, text, sizeof(text));
        pg_finish(p, s, ok ? PG_OK : PG_FAILED, res, sqlstate, ok ? NULL : text);
        PQclear(res);
        return;
    }
    PQclear(p->result);
    p->result = NULL;
}

static bool is_copy(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);

    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
           status == PGRES_COPY_BOTH;
}

/* The first error stays, else the last result. */
static void keep_result(struct pg *p, PGresult *res)
{
    if (p->result && PQresultStatus(p->result) == PGRES_FATAL_ERROR) {
        PQclear(res);
        return;
    }
    PQclear(p->result);
    p->result = res;
}

static void take_results(struct pg *p)
{
    while (pg_alive(p) && (p->running || p->setting_up) && !PQisBusy(p->conn)) {
        PGresult *res = PQgetResult(p->conn);
        if (!res) {
            results_done(p);
            if (pg_alive(p))
                pg_pump(p);
            continue;
        }
        keep_result(p, res);
        if (is_copy(p->result))
            pg_lose(p, "COPY is not supported");
    }
}

static void take_notifies(struct pg *p)
{
    PGnotify *n;

    while (pg_alive(p) && (n = PQnotifies(p->conn))) {
        if (p->ev.on_notify)
            p->ev.on_notify(p, pg_channel_name(p, n->relname), n->extra, p->arg);
        PQfreemem(n);
    }
}

void pg_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct pg *p = arg;
    char text[PG_WHY_SIZE];
    bool readable;

    (void)fd;
    (void)what;
    pg_enter(p);
    readable = pg_alive(p) && PQconsumeInput(p->conn) == 1;
    if (pg_alive(p)) {
        take_results(p);
        take_notifies(p);
    }
    if (pg_alive(p) && (!readable || PQstatus(p->conn) == CONNECTION_BAD)) {
        if (PQresultStatus(p->result) == PGRES_FATAL_ERROR)
            pg_result_text(p->result, text, sizeof(text));
        else
            pg_one_line(PQerrorMessage(p->conn), text, sizeof(text));
        pg_lose(p, "%s", p->fatal[0] ? p->fatal : text);
    } else if (pg_alive(p)) {
        pg_flush(p);
    }
    pg_leave(p);
}

/* --- deadlines --- */

static void deadline_arm(struct pg *p, int64_t at_ms)
{
    int64_t in_ms = at_ms - clock_ms();

    if (timer_running(p->deadline) && p->deadline_at_ms <= at_ms)
        return;
    p->deadline_at_ms = at_ms;
    timer_start(p->deadline, in_ms > 0 ? in_ms : 0);
}

static struct pg_statement *first_expired(const struct pg *p, int64_t now_ms)
{
    LIST_EACH(node, next, &p->waiting) {
        struct pg_statement *s = LIST_ITEM(node, struct pg_statement, node);
        if (s->deadline_ms <= now_ms)
            return s;
    }
    return NULL;
}

static void deadlines_arm(struct pg *p)
{
    if (p->running)
        deadline_arm(p, p->running->deadline_ms);
    LIST_EACH(node, next, &p->waiting) {
        deadline_arm(p, LIST_ITEM(node, struct pg_statement, node)->deadline_ms);
    }
}

/* Callbacks may change the list, so it is looked through anew for each of them. */
void pg_on_deadline(void *arg)
{
    struct pg *p = arg;
    int64_t now_ms = clock_ms();
    struct pg_statement *s;

    pg_enter(p);
    if (p->running && p->running->deadline_ms <= now_ms) {
        p->counters.expired++;
        pg_lose(p, "a statement passed its deadline");
    }
    while (!p->freed && (s = first_expired(p, now_ms))) {
        list_remove(&s->node);
        p->counters.expired++;
        pg_finish(p, s, PG_UNSENT, NULL, NULL, "its deadline passed before it was sent");
    }
    if (pg_alive(p))
        deadlines_arm(p);
    pg_leave(p);
}

/* --- asking --- */

static size_t params_size(int nparams, const char *const *params)
{
    size_t size = 0;

    for (int i = 0; i < nparams; i++)
        size += params[i] ? strlen(params[i]) + 1 : 0;
    return size;
}

static struct pg_statement *statement_new(const char *schema, const char *sql,
                                          int nparams, const char *const *params)
{
    size_t size = sizeof(struct pg_statement) + (size_t)nparams * sizeof(char *);
    struct pg_statement *s = NULL;
    struct buf text;
    char *at;

    buf_init(&text);
    pg_qualify(&text, sql, schema);
    buf_char(&text, '\0');
    if (!text.failed)
        s = calloc(1, size + text.len + params_size(nparams, params));
    if (!s)
        goto out;
    at = (char *)s + size;
    s->sql = at;
    memcpy(at, text.data, text.len);
    at += text.len;
    s->nparams = nparams;
    for (int i = 0; i < nparams; i++) {
        if (!params[i])
            continue;
        s->params[i] = at;
        at = stpcpy(at, params[i]) + 1;
    }
out:
    buf_fini(&text);
    return s;
}

static bool ask(struct pg *p, struct pg_statement *s, int64_t deadline_ms, pg_fn *fn,
                void *arg)
{
    if (!s || p->freed || p->queued >= p->opt.queue_max) {
        p->counters.refused++;
        free(s);
        return false;
    }
    s->fn = fn;
    s->arg = arg;
    s->deadline_ms = clock_ms() + deadline_ms;
    list_push(&p->waiting, &s->node);
    p->queued++;
    deadline_arm(p, s->deadline_ms);
    if (p->state == PG_READY && !p->running)
        event_active(p->later, EV_TIMEOUT, 0);
    return true;
}

bool pg_query(struct pg *p, const char *sql, int nparams, const char *const *params,
              int64_t deadline_ms, pg_fn *fn, void *arg)
{
    return ask(p, statement_new(p->opt.schema, sql, nparams, params), deadline_ms, fn,
               arg);
}

bool pg_script(struct pg *p, const char *sql, int64_t deadline_ms, pg_fn *fn, void *arg)
{
    struct pg_statement *s = statement_new(p->opt.schema, sql, 0, NULL);

    if (s)
        s->script = true;
    return ask(p, s, deadline_ms, fn, arg);
}

/* --- who only listens --- */

/* TCP tells when a host is gone, not when somebody in between takes all and passes
 * nothing on: then a notification would be missed for ever. */
static void on_still_there(enum pg_outcome outcome, const struct pg_result *res,
                           const struct pg_error *err, void *arg)
{
    struct pg *p = arg;

    (void)outcome, (void)res, (void)err;
    if (pg_alive(p) && p->state == PG_READY)
        timer_start(p->still, LISTEN_ASK_MS);
}

void pg_on_still(void *arg)
{
    struct pg *p = arg;
    struct pg_statement *s = NULL;
    struct buf sql;

    buf_init(&sql);
    pg_add_listen(&sql, p); /* again: that changes nothing */
    if (!sql.failed)
        s = statement_new(NULL, sql.data, 0, NULL);
    if (s)
        s->script = true;
    if (!ask(p, s, LISTEN_ANSWER_MS, on_still_there, p))
        timer_start(p->still, LISTEN_ASK_MS);
    buf_fini(&sql);
}
