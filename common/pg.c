/* One connection as its owner sees it, and its way down:
 *
 *   pg_connect.c   up: names (pg_hosts.c), URL (pg_conninfo.c), PQconnectPoll, LISTEN
 *   pg_query.c     statements and their results (pg_result.c), notifications, deadlines
 *   here           anything wrong ─▶ pg_lose ─▶ go_down ─▶ retry timer ─▶ up again
 *
 * pg_lose is the only way down. Callbacks may ask and free: what would pull the ground
 * from under the dispatch waits until it has returned. */
#include "common/pg.h"

#include "common/clock.h"
#include "common/pg_internal.h"
#include "common/resolve.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void pg_go_down(struct pg *p);

static void pg_destroy(struct pg *p)
{
    timer_free(p->retry);
    timer_free(p->connect);
    timer_free(p->deadline);
    timer_free(p->still);
    if (p->later)
        event_free(p->later);
    pg_conninfo_fini(&p->conninfo);
    pg_hosts_fini(&p->hosts);
    free((char *)(uintptr_t)p->opt.url);
    free((char *)(uintptr_t)p->opt.schema);
    free((char *)(uintptr_t)p->opt.name);
    free((char *)(uintptr_t)p->opt.listen);
    free(p);
}

void pg_enter(struct pg *p)
{
    p->depth++;
}

void pg_leave(struct pg *p)
{
    if (--p->depth > 0)
        return;
    if (p->freed)
        pg_destroy(p);
    else if (p->down_pending)
        pg_go_down(p);
}

bool pg_alive(const struct pg *p)
{
    return !p->freed && !p->down_pending;
}

/* Events first: PQfinish closes their descriptor. */
static void close_connection(struct pg *p)
{
    resolve_cancel(p->resolve);
    p->resolve = NULL;
    if (p->io)
        event_free(p->io);
    if (p->writing)
        event_free(p->writing);
    p->io = p->writing = NULL;
    if (p->conn)
        PQfinish(p->conn);
    p->conn = NULL;
    p->setting_up = false;
    timer_stop(p->connect);
    timer_stop(p->still);
}

/* What was sent and has no result: nobody knows. */
static void fail_running(struct pg *p, const char *why)
{
    struct pg_statement *s = p->running;
    PGresult *res = p->result;

    p->running = NULL;
    p->result = NULL;
    if (s)
        pg_finish(p, s, PG_LOST, NULL,
                  res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL, why);
    PQclear(res);
}

void pg_lose(struct pg *p, const char *fmt, ...)
{
    va_list args;

    if (!pg_alive(p) || p->state == PG_WAITING)
        return;
    va_start(args, fmt);
    vsnprintf(p->why, sizeof(p->why), fmt, args);
    va_end(args);
    if (!p->why[0]) /* libpq says nothing of a connection that was cut */
        snprintf(p->why, sizeof(p->why), "closed by Postgres");
    if (p->state == PG_READY)
        p->counters.lost++;
    else
        p->counters.failed++;
    p->state = PG_WAITING;
    p->down_pending = true;
    if (p->depth == 0)
        event_active(p->later, EV_TIMEOUT, 0);
}

/* depth is 0. A connection that lasted makes the next try early again; one that is cut
 * as soon as it stands does not. */
static void pg_go_down(struct pg *p)
{
    if (p->ready_ms && clock_ms() - p->ready_ms >= p->opt.backoff_ms)
        backoff_reset(&p->backoff);
    p->down_pending = false;
    p->ready_ms = 0;
    close_connection(p);
    timer_start(p->retry, backoff_next(&p->backoff, p->opt.backoff_ms));
    pg_enter(p);
    fail_running(p, p->why);
    if (p->ev.on_down && !p->freed)
        p->ev.on_down(p, p->why, p->arg);
    pg_leave(p);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct pg *p = arg;

    (void)fd;
    (void)what;
    pg_enter(p);
    pg_pump(p);
    pg_leave(p);
}

static char *copy(const char *s, bool *ok)
{
    char *c = s ? strdup(s) : NULL;

    if (s && !c)
        *ok = false;
    return c;
}

static bool copy_options(struct pg *p, const struct pg_options *o)
{
    bool ok = true;

    p->opt = *o;
    p->opt.url = copy(o->url, &ok);
    p->opt.schema = copy(o->schema, &ok);
    p->opt.name = copy(o->name, &ok);
    p->opt.listen = copy(o->listen, &ok);
    if (!p->opt.connect_ms)
        p->opt.connect_ms = 5000;
    if (!p->opt.backoff_ms)
        p->opt.backoff_ms = 2000;
    if (!p->opt.queue_max)
        p->opt.queue_max = 10000;
    return ok;
}

struct pg *pg_new(struct loop *l, const struct pg_options *o, const struct pg_events *ev,
                  void *arg)
{
    struct pg *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->loop = l;
    p->ev = *ev;
    p->arg = arg;
    list_init(&p->waiting);
    p->retry = timer_new(l, pg_on_retry, p);
    p->connect = timer_new(l, pg_on_connect_timeout, p);
    p->deadline = timer_new(l, pg_on_deadline, p);
    p->still = timer_new(l, pg_on_still, p);
    p->later = event_new(loop_base(l), -1, 0, on_later, p);
    if (!copy_options(p, o) || !p->retry || !p->connect || !p->deadline || !p->still ||
        !p->later) {
        pg_destroy(p);
        return NULL;
    }
    timer_start(p->retry, 0);
    return p;
}

void pg_free(struct pg *p)
{
    struct list *node;

    if (!p || p->freed)
        return;
    pg_enter(p);
    p->freed = true;
    p->state = PG_WAITING;
    timer_stop(p->retry);
    timer_stop(p->deadline);
    fail_running(p, "the connection is being closed");
    while ((node = list_pop(&p->waiting)))
        pg_finish(p, LIST_ITEM(node, struct pg_statement, node), PG_UNSENT, NULL, NULL,
                  "the connection is being closed");
    close_connection(p);
    pg_leave(p);
}

enum pg_state pg_state(const struct pg *p)
{
    return p->state;
}

bool pg_is_pooled(const struct pg *p)
{
    return p->is_pooled;
}

void pg_drop(struct pg *p, const char *why)
{
    pg_lose(p, "%s", why);
}

size_t pg_queued(const struct pg *p)
{
    return p->queued;
}

const struct pg_counters *pg_counters(const struct pg *p)
{
    return &p->counters;
}
