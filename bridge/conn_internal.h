/* conn_internal: what conn.c (the life of a connection, its waits and limits) and
 * conn_io.c (its bytes) share. Nobody else includes it. */
#ifndef THREADCAST_CONN_INTERNAL_H
#define THREADCAST_CONN_INTERNAL_H

#include "bridge/address.h"
#include "bridge/conn.h"
#include "common/buf.h"
#include "common/list.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conn_state { CONN_HEAD, CONN_BODY, CONN_BUSY, CONN_LINGER, CONN_DEAD };

/* What the connection waits for, and so which limit runs. */
enum conn_wait {
    WAIT_NONE,
    WAIT_IDLE,
    WAIT_REQUEST,
    WAIT_ANSWER,
    WAIT_WRITE,
    WAIT_PEER,
    WAIT_TURN /* it has come from another reactor and stands in line */
};

struct conn {
    struct list node; /* in b->conns, then b->conns_dead */
    struct list line; /* in b->conns_line, or nowhere */
    struct bridge *b;
    int fd;
    enum conn_state state;
    enum conn_wait wait;
    struct event readable, writable, limit;
    struct buf in, out;      /* unread request bytes; unwritten answer */
    size_t out_at;           /* bytes of `out` already written */
    size_t scan;             /* how far http_read has looked into `in` */
    struct request *request; /* from its whole head until its answer; a reference */
    uint32_t place;          /* in b->gather */
    size_t lingered;         /* bytes thrown away */
    uint64_t requests;       /* that it has asked */
    bool eof;                /* the peer has closed its side */
    bool close_after;        /* after what is in `out` */
    bool overloaded;         /* above max_connections */
    bool scarce;             /* few descriptors are left: soon answered, soon gone */
    bool admin;              /* came in at --admin-listen */
    bool moved;              /* has come from another reactor, … */
    bool arriving;           /* … counts as on the way until its first step, … */
    bool placed;             /* … and as a reader to be, at `place`, until its request
                                does */
    bool more;               /* what is in `in` may be whole requests: it is in line */
    bool due;                /* its limit has come; not when another begins */
    bool advancing;          /* conn_advance is on the stack */
    char address[ADDRESS_SIZE];
};

/* conn.c */
/* Has its place among the process's connections, which dying gives back. NULL: no memory,
 * and the descriptor and the place are still the caller's. */
struct conn *conn_new(struct bridge *b, int fd);
/* Dies, but its descriptor, which is returned, and its place live on. */
int conn_let_go(struct conn *c, const char *why);
void conn_die(struct conn *c, const char *why);
/* Everything is written: FIN, then a bounded wait for the peer's. */
void conn_linger(struct conn *c);
/* After anything happened: which events, which limit. */
void conn_settle(struct conn *c);
/* The stall limit begins again. */
void conn_wrote(struct conn *c);

static inline bool conn_out_pending(const struct conn *c)
{
    return c->out_at < c->out.len;
}

/* conn_io.c */
/* With a request in `in` that another reactor has read. */
void conn_arrived(struct conn *c);
/* conn_move.c: it is no longer on the way. */
void conn_taken_in(struct conn *c);
/* The end of a turn: some of those in line. */
void conns_pump(struct bridge *b);
/* what libevent calls */
void conn_on_readable(evutil_socket_t fd, short what, void *arg);
void conn_on_writable(evutil_socket_t fd, short what, void *arg);
void conn_on_limit(evutil_socket_t fd, short what, void *arg);

#endif
