/* The way up: retry timer ─▶ names ─▶ PQconnectStartParams ─▶ PQconnectPoll … ─▶ LISTEN
 * ─▶ READY, all of it within connect_ms. libpq may change its socket between two polls,
 * so an event lives for one poll only and is gone before the next. */
#include "common/pg_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/resolve.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

static void connect_poll(struct pg *p, PostgresPollingStatusType wants);

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    struct pg *p = arg;

    (void)fd;
    (void)what;
    pg_enter(p);
    event_free(p->io);
    p->io = NULL;
    connect_poll(p, PQconnectPoll(p->conn));
    pg_leave(p);
}

static void lose_with_message(struct pg *p, const char *step)
{
    char text[PG_WHY_SIZE - 40];

    pg_one_line(PQerrorMessage(p->conn), text, sizeof(text));
    if (strstr(text, "unsupported startup parameter"))
        pg_lose(p, "%.200s (a pooler: set DATABASE_LISTEN_URL too)", text);
    else
        pg_lose(p, "%s%s", step, text);
}

static void connected(struct pg *p)
{
    if (PQsetnonblocking(p->conn, 1) != 0) {
        lose_with_message(p, "");
        return;
    }
    p->io = event_new(loop_base(p->loop), PQsocket(p->conn), EV_READ | EV_PERSIST,
                      pg_on_readable, p);
    if (!p->io || event_add(p->io, NULL) < 0)
        pg_lose(p, "no memory");
    else if (!pg_setup(p))
        lose_with_message(p, "");
    else
        pg_flush(p);
}

static void connect_poll(struct pg *p, PostgresPollingStatusType wants)
{
    short what = wants == PGRES_POLLING_READING ? EV_READ : EV_WRITE;

    if (wants == PGRES_POLLING_FAILED) {
        lose_with_message(p, "");
        return;
    }
    if (wants == PGRES_POLLING_OK) {
        connected(p);
        return;
    }
    p->io = event_new(loop_base(p->loop), PQsocket(p->conn), what, on_poll, p);
    if (!p->io || event_add(p->io, NULL) < 0)
        pg_lose(p, "no memory");
}

static void on_notice(void *arg, const char *message)
{
    struct pg *p = arg;
    char text[PG_WHY_SIZE];

    pg_one_line(message, text, sizeof(text));
    if (strncmp(text, "FATAL", 5) == 0)
        memcpy(p->fatal, text, sizeof(text));
    log_debug("postgres notice", LOG_S("text", text));
}

static void connect_start(struct pg *p)
{
    pg_hosts_store(&p->hosts, &p->conninfo);
    if (p->conninfo.failed) {
        pg_lose(p, "no memory");
        return;
    }
    p->conn = PQconnectStartParams((const char *const *)p->conninfo.keywords,
                                   (const char *const *)p->conninfo.values, 0);
    pg_conninfo_fini(&p->conninfo);
    if (!p->conn) {
        pg_lose(p, "no memory");
        return;
    }
    PQsetNoticeProcessor(p->conn, on_notice, p);
    if (PQstatus(p->conn) == CONNECTION_BAD)
        lose_with_message(p, "");
    else
        connect_poll(p, PGRES_POLLING_WRITING);
}

static void resolve_next(struct pg *p);

static void on_resolved(const struct resolve_address *addresses, size_t count,
                        const char *why, void *arg)
{
    struct pg *p = arg;
    char text[RESOLVE_TEXT_SIZE];

    pg_enter(p);
    p->resolve = NULL;
    for (size_t i = 0; i < count; i++) {
        resolve_text(&addresses[i], false, text);
        pg_hosts_add(&p->hosts, text);
    }
    if (count == 0 && p->hosts.count == 1)
        pg_lose(p, "resolve %.200s: %s", p->hosts.names[0], why);
    p->hosts.next++;
    if (pg_alive(p))
        resolve_next(p);
    pg_leave(p);
}

/* Goes on until a name has to be waited for. A name among several that is not found
 * is left out. */
static void resolve_next(struct pg *p)
{
    while (p->hosts.next < p->hosts.count) {
        if (pg_hosts_named(&p->hosts)) {
            p->resolve =
                resolve_start(p->loop, p->hosts.names[p->hosts.next], 0, on_resolved, p);
            if (!p->resolve)
                pg_lose(p, "no memory");
            return;
        }
        pg_hosts_add(&p->hosts, NULL);
        p->hosts.next++;
    }
    if (p->hosts.made == 0)
        pg_lose(p, "resolve: none of the hosts is found");
    else
        connect_start(p);
}

void pg_on_retry(void *arg)
{
    struct pg *p = arg;
    struct buf err;

    pg_enter(p);
    buf_init(&err);
    p->state = PG_CONNECTING;
    p->fatal[0] = '\0';
    timer_start(p->connect, p->opt.connect_ms);
    pg_conninfo_fini(&p->conninfo);
    if (!pg_conninfo_make(&p->conninfo, &p->opt, &err) ||
        !pg_hosts_start(&p->hosts, &p->conninfo, &err))
        pg_lose(p, "the database URL: %s", err.len ? err.data : "");
    else
        resolve_next(p);
    buf_fini(&err);
    pg_leave(p);
}

void pg_on_connect_timeout(void *arg)
{
    struct pg *p = arg;

    pg_enter(p);
    pg_lose(p, "no connection for %lld ms", (long long)p->opt.connect_ms);
    pg_leave(p);
}

void pg_add_listen(struct buf *sql, const struct pg *p)
{
    const char *channels = p->opt.listen;
    struct buf name;

    buf_init(&name);
    while (*channels) {
        size_t len = strcspn(channels, ",");
        buf_clear(&name);
        if (p->opt.schema)
            pg_channel_prefix(&name, p->opt.schema);
        buf_add(&name, channels, len);
        buf_str(sql, "LISTEN ");
        pg_quote(sql, name.failed ? "" : name.data);
        buf_str(sql, "; ");
        channels += len + (channels[len] == ',');
    }
    buf_fini(&name);
}

/* One message there and back: LISTEN, and whether this is the place to be. */
bool pg_setup(struct pg *p)
{
    struct buf sql;
    bool ok;

    buf_init(&sql);
    if (p->opt.listen)
        pg_add_listen(&sql, p);
    pg_schema_question(&sql, p);
    ok = !sql.failed && PQsendQuery(p->conn, sql.data) == 1;
    p->setting_up = ok;
    buf_fini(&sql);
    return ok;
}

void pg_ready(struct pg *p)
{
    timer_stop(p->connect);
    p->state = PG_READY;
    p->ready_ms = clock_ms();
    p->counters.ready++;
    if (p->opt.listen)
        timer_start(p->still, LISTEN_ASK_MS);
    if (p->ev.on_ready)
        p->ev.on_ready(p, p->arg);
    if (pg_alive(p))
        pg_pump(p);
}
