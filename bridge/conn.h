/* conn: one accepted socket while it speaks HTTP: reads a request, gives it to the
 * router, writes the answer, keeps alive. A stream takes the socket away from it and
 * everything of HTTP is freed. */
#ifndef THREADCAST_CONN_H
#define THREADCAST_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct bridge;
struct conn;
struct request;

/* Once per bridge, before the first connection: the lists, and the freeing at the end of
 * a turn (closed connections live until then, so no callback ever sees freed memory).
 * conns_fini closes and frees what is left, after the loop has ended. */
void conns_init(struct bridge *b);
void conns_fini(struct bridge *b);

enum conn_flags {
    CONN_LENT = 1,  /* the last descriptor */
    CONN_ADMIN = 2, /* came in at --admin-listen */
};

/* Takes the descriptor. false: no memory or a limit; the descriptor is closed. */
bool conn_accept(struct bridge *b, int fd, const struct sockaddr *addr, socklen_t len,
                 unsigned flags);

/* Queues a whole response; used by request.c alone. */
void conn_respond(struct conn *c, const struct request *r, const char *data, size_t len);

/* Gives the socket away for a stream: detaches request and connection (r->conn becomes
 * NULL, no timers or events are left on the descriptor) and returns the non-blocking
 * descriptor; everything earlier in the pipeline has been written. -1: not possible (the
 * client has gone, unread pipelined bytes are waiting): then the request has been
 * answered or the connection closed. */
int conn_detach(struct request *r);

/* Could its connection go to another reactor? */
bool conn_movable(const struct request *r);
/* It goes, with what it has sent; `r` is over. `place`: in b->gather, taken by the
 * caller, given back when what it asked for has begun, or never will. false: no memory,
 * too many are on their way, or we are leaving, and nothing has happened.
 * (conn_move.c) */
bool conn_move(struct request *r, struct bridge *to, uint32_t place);
const char *conn_address(const struct conn *c); /* the peer's "127.0.0.1" */

/* Draining: idle ones are closed, busy ones close after their answer; those that have
 * not asked anything yet get a moment for it. */
void conns_drain(struct bridge *b);
size_t conns_count(const struct bridge *b);
/* More of them wait to be served than a turn serves. */
bool conns_crowded(const struct bridge *b);

#endif
