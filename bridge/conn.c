/* conn: see conn.h.
 *
 *   accept ─▶ HEAD ─▶ BODY ─▶ BUSY ──answer──▶ HEAD …          (keep-alive)
 *               └── malformed ──▶ answer ──▶ LINGER ─▶ DEAD    (or Connection: close)
 *   BUSY ──conn_detach──▶ a stream has the socket, DEAD here
 *
 * One request at a time: the next of a pipeline is read when the answer before it has
 * left. DEAD ones are freed at the end of the turn. Never parses (http.c), never decides
 * (routes.c); it only moves bytes, with a limit on each wait. */
#include "bridge/conn.h"

#include "bridge/address.h"
#include "bridge/bridge.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 4096
#define PIPELINE_MAX (16u * 1024) /* bytes read ahead while a request is answered */
#define LINGER_MS 2000
#define LINGER_BYTES (1024u * 1024)

enum conn_state { CONN_HEAD, CONN_BODY, CONN_BUSY, CONN_LINGER, CONN_DEAD };

/* What the connection waits for, and so which limit runs. */
enum conn_wait { WAIT_NONE, WAIT_IDLE, WAIT_REQUEST, WAIT_ANSWER, WAIT_WRITE, WAIT_PEER };

struct conn {
    struct list node; /* in b->conns, then b->conns_dead */
    struct bridge *b;
    int fd;
    enum conn_state state;
    enum conn_wait wait;
    struct event readable, writable, limit;
    struct buf in, out; /* unread request bytes; unwritten answer */
    size_t out_at;      /* bytes of `out` already written */
    size_t scan;        /* how far http_read has looked into `in` */
    struct request *request; /* from its whole head until its answer; a reference */
    size_t lingered;    /* bytes thrown away */
    bool eof;           /* the peer has closed its side */
    bool close_after;   /* after what is in `out` */
    bool overloaded;    /* above max_connections */
    bool advancing;     /* conn_advance is on the stack */
    char address[ADDRESS_SIZE];
};

static void conn_advance(struct conn *c);

/* --- the end ------------------------------------------------------------------------ */

/* The descriptor goes at once unless it was given away, the memory at the turn's end. */
static void conn_die(struct conn *c, const char *why)
{
    struct request *r = c->request;

    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    event_del(&c->readable);
    event_del(&c->writable);
    event_del(&c->limit);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->request = NULL;
    if (r) {
        r->conn = NULL;
        request_unref(r);
    }
    list_remove(&c->node);
    list_push(&c->b->conns_dead, &c->node);
    c->b->conn_count--;
    c->b->stats.connections--;
    log_debug("connection closed", LOG_S("address", c->address), LOG_S("reason", why));
}

static void conns_reap(void *arg)
{
    struct bridge *b = arg;
    struct list *node;

    while ((node = list_pop(&b->conns_dead))) {
        struct conn *c = LIST_ITEM(node, struct conn, node);
        buf_fini(&c->in);
        buf_fini(&c->out);
        free(c);
    }
}

/* Everything is written: say so with FIN, then wait a little for the peer's, because a
 * close over unread bytes is a reset that may destroy the answer on its way. */
static void conn_linger(struct conn *c)
{
    if (c->eof || shutdown(c->fd, SHUT_WR)) {
        conn_die(c, c->eof ? "done" : "reset");
        return;
    }
    c->state = CONN_LINGER;
    buf_fini(&c->in);
}

/* --- events and limits -------------------------------------------------------------- */

static bool out_pending(const struct conn *c)
{
    return c->out_at < c->out.len;
}

static enum conn_wait conn_waits_for(const struct conn *c)
{
    if (c->state == CONN_LINGER)
        return WAIT_PEER;
    if (out_pending(c))
        return WAIT_WRITE;
    if (c->state == CONN_BUSY)
        return WAIT_ANSWER;
    return c->state == CONN_HEAD && c->in.len == 0 ? WAIT_IDLE : WAIT_REQUEST;
}

static int64_t wait_limit_ms(const struct conn *c, enum conn_wait wait)
{
    const struct bridge_conf *conf = c->b->conf;

    switch (wait) {
    case WAIT_IDLE:
        return conf->idle_timeout_ms;
    case WAIT_REQUEST:
        return conf->request_timeout_ms;
    case WAIT_WRITE:
        return conf->write_stall_ms;
    case WAIT_PEER:
        return LINGER_MS;
    case WAIT_NONE:
    case WAIT_ANSWER: /* routes have deadlines of their own */
        break;
    }
    return 0;
}

static void set_limit(struct conn *c, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    if (ms > 0)
        event_add(&c->limit, &tv);
    else
        event_del(&c->limit);
}

static void want(struct event *ev, bool wanted)
{
    if (wanted == (event_pending(ev, EV_READ | EV_WRITE, NULL) != 0))
        return;
    if (wanted)
        event_add(ev, NULL);
    else
        event_del(ev);
}

/* After anything happened: which events, which limit. A limit starts when its wait
 * begins, so bytes that dribble in do not push it away. */
static void conn_settle(struct conn *c)
{
    enum conn_wait wait;
    bool read;

    if (c->state == CONN_DEAD)
        return;
    wait = conn_waits_for(c);
    read = !c->eof && (wait != WAIT_ANSWER || c->in.len < PIPELINE_MAX) &&
           wait != WAIT_WRITE;
    want(&c->readable, read);
    want(&c->writable, wait == WAIT_WRITE);
    if (wait != c->wait)
        set_limit(c, wait_limit_ms(c, wait));
    c->wait = wait;
    if (wait == WAIT_IDLE) /* an idle connection keeps no buffers */
        buf_fini(&c->in);
}

/* --- writing ------------------------------------------------------------------------ */

/* Writes what the socket takes. true: all of it, or the connection died. */
static bool conn_flush(struct conn *c)
{
    while (out_pending(c)) {
        ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (n < 0) {
            conn_die(c, "write failed");
            return true;
        }
        c->out_at += (size_t)n;
        if (c->wait == WAIT_WRITE) /* progress: the stall limit begins again */
            set_limit(c, wait_limit_ms(c, WAIT_WRITE));
    }
    buf_fini(&c->out);
    c->out_at = 0;
    if (c->close_after && c->state != CONN_LINGER)
        conn_linger(c);
    return true;
}

void conn_respond(struct conn *c, const struct request *r, const char *data, size_t len)
{
    struct request *mine = c->request;

    if (c->state == CONN_DEAD || r != mine)
        return;
    c->request = NULL;
    mine->conn = NULL;
    c->close_after = !r->http.keep_alive || (c->eof && c->in.len == 0);
    c->state = CONN_HEAD;
    if (len > 0)
        buf_add(&c->out, data, len);
    if (len == 0 || c->out.failed)
        conn_die(c, "out of memory");
    else
        conn_flush(c);
    request_unref(mine);
    conn_advance(c);
}

/* --- reading ------------------------------------------------------------------------ */

static struct request *begin_request(struct conn *c)
{
    c->request = request_new(c->b, c);
    if (!c->request) {
        conn_die(c, "out of memory");
        return NULL;
    }
    c->request->overloaded = c->overloaded;
    return c->request;
}

/* Answers something that never became a request, then closes. */
static void refuse(struct conn *c, const struct http_refusal *why)
{
    struct request *r = c->request ? c->request : begin_request(c);

    if (!r)
        return;
    c->b->stats.http_refused++;
    c->state = CONN_BUSY;
    memset(&r->http, 0, sizeof r->http); /* GET, HTTP/1.0, close */
    request_ref(r);
    request_error(r, why->status, why->code, why->message);
    request_unref(r);
}

/* The head is in `in` and is good: it moves into a request of its own. */
static void take_head(struct conn *c, size_t head_len)
{
    struct http_refusal why;
    struct request *r = begin_request(c);
    size_t scan = 0, len;

    if (!r)
        return;
    r->head = malloc(head_len);
    if (!r->head) {
        conn_die(c, "out of memory");
        return;
    }
    memcpy(r->head, c->in.data, head_len);
    http_read(r->head, head_len, &scan, &r->http, &len, &why); /* spans into r->head */
    r->body = calloc(1, r->http.content_length + 1);
    if (!r->body) {
        conn_die(c, "out of memory");
        return;
    }
    buf_consume(&c->in, head_len);
    c->scan = 0;
    c->state = CONN_BODY;
    if (r->http.expect_continue && c->in.len < r->http.content_length) {
        buf_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        conn_flush(c);
    }
}

static bool read_head(struct conn *c)
{
    struct http_request scratch;
    struct http_refusal why;
    size_t head_len;

    if (c->in.len == 0)
        return false;
    switch (http_read(c->in.data, c->in.len, &c->scan, &scratch, &head_len, &why)) {
    case HTTP_MORE:
        return false;
    case HTTP_REFUSED:
        refuse(c, &why);
        return true;
    case HTTP_DONE:
        take_head(c, head_len);
        return true;
    }
    return false;
}

static bool read_body(struct conn *c)
{
    struct request *r = c->request;
    size_t missing = (size_t)r->http.content_length - r->body_len;
    size_t n = c->in.len < missing ? c->in.len : missing;

    if (n > 0) {
        memcpy((char *)(uintptr_t)r->body + r->body_len, c->in.data, n);
        r->body_len += n;
        buf_consume(&c->in, n);
    }
    if (n < missing)
        return false;
    c->state = CONN_BUSY;
    c->wait = WAIT_NONE; /* the next request gets a limit of its own */
    c->b->stats.http_requests++;
    request_ref(r); /* it may be answered, and dropped by us, inside */
    routes_dispatch(r);
    request_unref(r);
    return true;
}

/* One step; false: nothing more to do until something happens. */
static bool conn_step(struct conn *c)
{
    if (out_pending(c))
        return false;
    switch (c->state) {
    case CONN_HEAD:
        return read_head(c);
    case CONN_BODY:
        return read_body(c);
    case CONN_BUSY:
    case CONN_LINGER:
    case CONN_DEAD:
        return false;
    }
    return false;
}

static void conn_advance(struct conn *c)
{
    if (c->advancing)
        return;
    c->advancing = true;
    while (conn_step(c))
        ;
    c->advancing = false;
    if (c->eof && (c->state == CONN_HEAD || c->state == CONN_BODY) && !out_pending(c))
        conn_die(c, "client closed");
    conn_settle(c);
}

static void throw_away(struct conn *c)
{
    char bytes[READ_SIZE];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        c->lingered += (size_t)n;
    if (n <= 0 || c->lingered > LINGER_BYTES)
        conn_die(c, "done");
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    ssize_t n;

    (void)what;
    if (c->state == CONN_LINGER) {
        throw_away(c);
        return;
    }
    if (!buf_reserve(&c->in, READ_SIZE)) {
        conn_die(c, "out of memory");
        return;
    }
    n = recv(fd, c->in.data + c->in.len, READ_SIZE, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        conn_die(c, "reset");
        return;
    }
    if (n == 0)
        c->eof = true; /* maybe only half: what it asked is still answered */
    c->in.len += (size_t)n;
    conn_advance(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    conn_flush(c);
    conn_advance(c);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    static const struct http_refusal slow = {408, "request_timeout",
                                             "The request took too long to arrive."};
    struct conn *c = arg;

    (void)fd;
    (void)what;
    if (c->wait == WAIT_REQUEST) {
        refuse(c, &slow);
        conn_advance(c);
        return;
    }
    conn_die(c, c->wait == WAIT_WRITE  ? "write stalled"
                : c->wait == WAIT_IDLE ? "idle"
                                       : "done");
}

/* --- from outside ------------------------------------------------------------------- */

void conns_init(struct bridge *b)
{
    list_init(&b->conns);
    list_init(&b->conns_dead);
    b->conn_count = 0;
    loop_on_turn_end(b->loop, conns_reap, b);
}

void conns_fini(struct bridge *b)
{
    LIST_EACH (node, tmp, &b->conns)
        conn_die(LIST_ITEM(node, struct conn, node), "shutdown");
    conns_reap(b);
}

bool conn_accept(struct bridge *b, int fd, const struct sockaddr *addr, socklen_t len)
{
    size_t max = (size_t)b->conf->max_connections;
    struct conn *c = NULL;

    if (b->conn_count >= max)
        b->stats.limit_connections++;
    /* as many again may still ask, to be told, or to become a stream */
    if (b->conn_count >= 2 * max)
        goto fail;
    c = calloc(1, sizeof *c);
    if (!c)
        goto fail;
    c->b = b;
    c->fd = fd;
    c->overloaded = b->conn_count >= max;
    buf_init(&c->in);
    buf_init(&c->out);
    address_host(addr, len, c->address);
    event_assign(&c->readable, loop_base(b->loop), fd, EV_READ | EV_PERSIST, on_readable,
                 c);
    event_assign(&c->writable, loop_base(b->loop), fd, EV_WRITE | EV_PERSIST, on_writable,
                 c);
    evtimer_assign(&c->limit, loop_base(b->loop), on_limit, c);
    list_push(&b->conns, &c->node);
    b->conn_count++;
    b->stats.connections++;
    conn_settle(c);
    return true;

fail:
    close(fd);
    return false;
}

int conn_detach(struct request *r)
{
    struct conn *c = r->conn;
    int fd;

    if (!c || r->answered)
        return -1;
    if (c->in.len > 0 || out_pending(c)) {
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
    LIST_EACH (node, tmp, &b->conns) {
        struct conn *c = LIST_ITEM(node, struct conn, node);
        if (c->wait == WAIT_IDLE) {
            conn_linger(c);
            conn_settle(c);
        }
    }
}

size_t conns_count(const struct bridge *b)
{
    return b->conn_count;
}
