/* conn_io: the bytes of a connection: out of the socket into a request, out of an answer
 * into the socket. One step at a time, in one loop that never calls itself
 * (conn_advance), however a route answers. Never parses (http.c), never decides
 * (routes.c). */
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/conn_internal.h"
#include "bridge/request.h"
#include "bridge/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_SIZE 4096
#define LINGER_BYTES (1024u * 1024)
/* Steps of a turn: each is a token checked, or a descriptor closed. Who comes when there
 * are none left stands in line, or those that libevent names first would be all. */
#define STEPS_A_TURN 10
#define STEPS_IN_LINE 6
#define REQUESTS_A_STEP 8 /* of a pipeline; the others stand in line */

static void conn_advance(struct conn *c);

static void stand_in_line(struct conn *c)
{
    if (!list_linked(&c->line))
        list_push(&c->b->conns_line, &c->line);
}

/* --- writing ------------------------------------------------------------------------ */

/* Writes what the socket takes. true: all of it, or the connection died. */
static bool conn_flush(struct conn *c)
{
    while (conn_out_pending(c)) {
        ssize_t n =
            send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (n < 0) {
            conn_die(c, "write failed");
            return true;
        }
        c->out_at += (size_t)n;
        conn_wrote(c);
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
    c->request->scarce = c->scarce;
    c->request->admin = c->admin;
    c->request->moved = c->moved;
    c->request->placed = c->placed;
    c->request->place = c->place;
    c->placed = false;
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
    r->head_len = head_len;
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
    size_t missing = r ? (size_t)r->http.content_length - r->body_len : 0;
    size_t n = c->in.len < missing ? c->in.len : missing;

    if (!r)
        return false;
    if (n > 0) {
        memcpy((char *)(uintptr_t)r->body + r->body_len, c->in.data, n);
        r->body_len += n;
        buf_consume(&c->in, n);
    }
    if (n < missing)
        return false;
    c->state = CONN_BUSY;
    c->wait = WAIT_NONE; /* the next request gets a limit of its own */
    c->requests++;
    c->b->stats.http_requests++;
    request_ref(r); /* it may be answered, and dropped by us, inside */
    routes_dispatch(r);
    request_unref(r);
    return true;
}

/* One step; false: nothing more to do until something happens. */
static bool conn_step(struct conn *c)
{
    if (conn_out_pending(c))
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

static bool reads_on(const struct conn *c)
{
    return (c->state == CONN_HEAD || c->state == CONN_BODY) && !conn_out_pending(c);
}

static void conn_advance(struct conn *c)
{
    uint64_t most = c->requests + REQUESTS_A_STEP;

    if (c->advancing)
        return;
    c->advancing = true;
    while (c->requests < most && conn_step(c))
        ;
    c->advancing = false;
    c->more = c->requests == most && reads_on(c) && c->in.len > 0;
    if (c->more)
        stand_in_line(c);
    else if (c->eof && reads_on(c))
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

static void read_some(struct conn *c)
{
    ssize_t n;

    if (c->state == CONN_LINGER) {
        throw_away(c);
        return;
    }
    if (!buf_reserve(&c->in, READ_SIZE)) {
        conn_die(c, "out of memory");
        return;
    }
    n = recv(c->fd, c->in.data + c->in.len, READ_SIZE, 0);
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

/* Its time is over. */
static void meet_limit(struct conn *c)
{
    static const struct http_refusal slow = {408, "request_timeout",
                                             "The request took too long to arrive."};

    c->due = false;
    if (c->wait == WAIT_REQUEST) {
        c->b->stats.conn_late++;
        refuse(c, &slow);
        conn_advance(c);
        return;
    }
    c->b->stats.conn_stalled += c->wait == WAIT_WRITE;
    c->b->stats.conn_idle += c->wait == WAIT_IDLE;
    conn_die(c, c->wait == WAIT_WRITE  ? "write stalled"
                : c->wait == WAIT_IDLE ? "idle"
                                       : "done");
}

/* --- a turn's steps ----------------------------------------------------------------- */

static bool has_step(struct conn *c)
{
    if (!list_linked(&c->line) && slice_take(&c->b->slice, STEPS_A_TURN))
        return true;
    stand_in_line(c);
    return false;
}

/* What has arrived counts before the limit that was waited for. */
static void step_in_line(struct conn *c)
{
    conn_taken_in(c);
    if (c->wait == WAIT_TURN || c->more)
        conn_advance(c);
    else if (event_pending(&c->readable, EV_READ, NULL))
        read_some(c);
    if (c->due && c->state != CONN_DEAD)
        meet_limit(c);
}

bool conns_crowded(const struct bridge *b)
{
    return list_longer(&b->conns_line, STEPS_A_TURN + STEPS_IN_LINE);
}

void conns_pump(struct bridge *b)
{
    struct list *node;

    for (int i = 0; i < STEPS_IN_LINE && (node = list_pop(&b->conns_line)); i++)
        step_in_line(LIST_ITEM(node, struct conn, line));
    if (!list_empty(&b->conns_line) && b->clients)
        clients_soon(b->clients);
}

void conn_arrived(struct conn *c)
{
    c->wait = WAIT_TURN;
    if (!has_step(c))
        return;
    conn_taken_in(c);
    conn_advance(c);
}

void conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    if (has_step(c))
        read_some(c);
}

void conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    conn_flush(c);
    c->more = reads_on(c) && c->in.len > 0;
    if (!c->more || has_step(c))
        conn_advance(c);
    else
        conn_settle(c);
}

void conn_on_limit(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    c->due = true;
    if (has_step(c))
        meet_limit(c);
}
