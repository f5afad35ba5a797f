/* conn: see conn.h.
 *
 *   accept ─▶ HEAD ─▶ BODY ─▶ BUSY ──answer──▶ HEAD …          (keep-alive)
 *               └── malformed ──▶ answer ──▶ LINGER ─▶ DEAD    (or Connection: close)
 *   BUSY ──conn_detach──▶ a stream has the socket, DEAD here
 *
 * One request at a time: the next of a pipeline is read when the answer before it has
 * left. DEAD ones are freed at the end of the turn. Here is the life of a connection and
 * the limit on each of its waits; conn_io.c moves its bytes. */
#include "bridge/conn.h"

#include "bridge/bridge.h"
#include "bridge/conn_internal.h"
#include "bridge/gather.h"
#include "bridge/limits.h"
#include "bridge/request.h"
#include "common/log.h"
#include "common/loop.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPELINE_MAX (16u * 1024) /* bytes read ahead while a request is answered */
#define LINGER_MS 2000
/* for who came last: there are too many, no descriptors are left, or we are leaving */
#define HURRY_MS 900

/* --- the end ------------------------------------------------------------------------ */

/* The memory goes at the turn's end. */
static void conn_end(struct conn *c, const char *why)
{
    struct request *r = c->request;

    c->state = CONN_DEAD;
    conn_taken_in(c);
    if (c->placed)
        gather_left(c->b->gather, c->place);
    event_del(&c->readable);
    event_del(&c->writable);
    event_del(&c->limit);
    c->request = NULL;
    if (r) {
        r->conn = NULL;
        request_unref(r);
    }
    list_remove(&c->line);
    list_remove(&c->node);
    list_push(&c->b->conns_dead, &c->node);
    c->b->conn_count--;
    c->b->stats.connections--;
    log_debug("connection closed", LOG_S("address", c->address), LOG_S("reason", why));
}

/* The descriptor goes at once unless it was given away. */
void conn_die(struct conn *c, const char *why)
{
    if (c->state == CONN_DEAD)
        return;
    conn_end(c, why);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    limits_connection_give(c->b->limits);
}

int conn_let_go(struct conn *c, const char *why)
{
    int fd = c->fd;

    conn_end(c, why); /* before the descriptor has another owner */
    c->fd = -1;
    return fd;
}

/* The end of a turn. */
static void conns_reap(void *arg)
{
    struct bridge *b = arg;
    struct list *node;

    slice_end(&b->slice);
    conns_pump(b);
    while ((node = list_pop(&b->conns_dead))) {
        struct conn *c = LIST_ITEM(node, struct conn, node);
        buf_fini(&c->in);
        buf_fini(&c->out);
        free(c);
    }
}

/* Everything is written: say so with FIN, then wait a little for the peer's, because a
 * close over unread bytes is a reset that may destroy the answer on its way. */
void conn_linger(struct conn *c)
{
    if (c->eof || shutdown(c->fd, SHUT_WR)) {
        conn_die(c, c->eof ? "done" : "reset");
        return;
    }
    c->state = CONN_LINGER;
    buf_fini(&c->in);
}

/* --- events and limits -------------------------------------------------------------- */

static enum conn_wait conn_waits_for(const struct conn *c)
{
    if (c->state == CONN_LINGER)
        return WAIT_PEER;
    if (conn_out_pending(c))
        return WAIT_WRITE;
    if (c->state == CONN_BUSY)
        return WAIT_ANSWER;
    return c->state == CONN_HEAD && c->in.len == 0 ? WAIT_IDLE : WAIT_REQUEST;
}

static int64_t in_hurry(const struct conn *c, int64_t ms)
{
    bool hurry = c->scarce || c->overloaded || c->b->leaving;

    return hurry && ms > HURRY_MS ? HURRY_MS : ms;
}

static int64_t wait_limit_ms(const struct conn *c, enum conn_wait wait)
{
    const struct bridge_conf *conf = c->b->conf;

    switch (wait) {
    case WAIT_IDLE:
        return in_hurry(c, conf->idle_timeout_ms);
    case WAIT_REQUEST:
        return in_hurry(c, conf->request_timeout_ms);
    case WAIT_WRITE:
        return conf->write_stall_ms;
    case WAIT_PEER:
        return LINGER_MS;
    case WAIT_NONE:
    case WAIT_TURN:
    case WAIT_ANSWER: /* routes have deadlines of their own */
        break;
    }
    return 0;
}

/* false: no memory. */
static bool set_limit(struct conn *c, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    c->due = false;
    return (ms > 0 ? event_add(&c->limit, &tv) : event_del(&c->limit)) == 0;
}

/* false: no memory. */
static bool want(struct event *ev, bool wanted)
{
    if (wanted == (event_pending(ev, EV_READ | EV_WRITE, NULL) != 0))
        return true;
    return (wanted ? event_add(ev, NULL) : event_del(ev)) == 0;
}

/* Its limit begins anew when it settles, which is next. */
void conn_wrote(struct conn *c)
{
    if (c->wait == WAIT_WRITE)
        c->wait = WAIT_NONE;
}

/* A limit starts when its wait begins, so bytes that dribble in do not push it away. Who
 * cannot be waited for is closed: it would be silent for good. */
void conn_settle(struct conn *c)
{
    enum conn_wait wait;
    bool read;

    if (c->state == CONN_DEAD)
        return;
    wait = conn_waits_for(c);
    read = !c->eof && (wait != WAIT_ANSWER || c->in.len < PIPELINE_MAX) &&
           wait != WAIT_WRITE;
    if (!want(&c->readable, read) || !want(&c->writable, wait == WAIT_WRITE) ||
        (wait != c->wait && !set_limit(c, wait_limit_ms(c, wait)))) {
        c->b->stats.conn_memory++;
        conn_die(c, "out of memory");
        return;
    }
    c->wait = wait;
    if (wait == WAIT_IDLE) /* an idle connection keeps no buffers */
        buf_fini(&c->in);
}

/* --- from outside ------------------------------------------------------------------- */

void conns_init(struct bridge *b)
{
    list_init(&b->conns);
    list_init(&b->conns_dead);
    list_init(&b->conns_line);
    b->conn_count = 0;
    loop_on_turn_end(b->loop, conns_reap, b);
}

void conns_fini(struct bridge *b)
{
    LIST_EACH(node, tmp, &b->conns)
        conn_die(LIST_ITEM(node, struct conn, node), "shutdown");
    conns_reap(b);
}

/* Is there room for it in the process? */
static enum connection_room take_room(struct bridge *b, bool admin, bool lent)
{
    enum connection_room room = limits_connection_take(b->limits, admin);

    if (room == ROOM_SHORT || room == ROOM_NONE)
        b->stats.limit_connections++;
    if (room == ROOM_SCARCE || lent)
        b->stats.limit_descriptors++;
    return lent && room != ROOM_NONE ? ROOM_SCARCE : room;
}

struct conn *conn_new(struct bridge *b, int fd)
{
    struct conn *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->b = b;
    c->fd = fd;
    list_init(&c->line);
    buf_init(&c->in);
    buf_init(&c->out);
    event_assign(&c->readable, loop_base(b->loop), fd, EV_READ | EV_PERSIST,
                 conn_on_readable, c);
    event_assign(&c->writable, loop_base(b->loop), fd, EV_WRITE | EV_PERSIST,
                 conn_on_writable, c);
    evtimer_assign(&c->limit, loop_base(b->loop), conn_on_limit, c);
    list_push(&b->conns, &c->node);
    b->conn_count++;
    b->stats.connections++;
    return c;
}

bool conn_accept(struct bridge *b, int fd, const struct sockaddr *addr, socklen_t len,
                 unsigned flags)
{
    bool admin = flags & CONN_ADMIN;
    enum connection_room room = take_room(b, admin, flags & CONN_LENT);
    struct conn *c = room == ROOM_NONE ? NULL : conn_new(b, fd);

    if (!c) {
        if (room != ROOM_NONE)
            limits_connection_give(b->limits);
        close(fd);
        return false;
    }
    c->overloaded = room != ROOM;
    c->scarce = room == ROOM_SCARCE;
    c->admin = admin;
    address_host(addr, len, c->address);
    conn_settle(c);
    return true;
}

int conn_detach(struct request *r)
{
    struct conn *c = r->conn;
    int fd;

    if (!c || r->answered)
        return -1;
    if (c->in.len > 0 || conn_out_pending(c)) {
        r->http.keep_alive = false;
        request_error(r, 400, "pipelined", "Nothing may be sent behind a stream.");
        return -1;
    }
    if (c->eof) { /* a browser that leaves looks just like this */
        conn_die(c, "client closed");
        return -1;
    }
    fd = c->fd;
    c->fd = -1;
    r->answered = true;
    event_del(&c->readable); /* before the descriptor has another owner */
    event_del(&c->writable);
    conn_die(c, "detached");
    return fd;
}

const char *conn_address(const struct conn *c)
{
    return c->address;
}

void conns_drain(struct bridge *b)
{
    LIST_EACH(node, tmp, &b->conns) {
        struct conn *c = LIST_ITEM(node, struct conn, node);
        if (c->wait != WAIT_IDLE)
            continue;
        if (c->requests && !list_linked(&c->line)) {
            conn_linger(c);
            conn_settle(c);
        } else { /* what it asks may be on its way */
            c->wait = WAIT_NONE;
            conn_settle(c);
        }
    }
}

size_t conns_count(const struct bridge *b)
{
    return b->conn_count;
}
