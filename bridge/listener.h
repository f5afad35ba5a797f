/* listener: the accepting socket. SO_REUSEPORT, so that a new process or another
 * reactor may accept beside us. When descriptors run out it serves one connection at a
 * time, from a descriptor kept in reserve: enough to say so, and for /healthz. */
#ifndef THREADCAST_LISTENER_H
#define THREADCAST_LISTENER_H

#include "common/buf.h"

#include <stdbool.h>

struct bridge;
struct listener;

/* `address` is host:port, port 0 lets the system choose. `admin`: what comes in here is
 * served what --admin-listen is for. */
struct listener *listener_new(struct bridge *b, const char *address, bool admin,
                              struct buf *err);
void listener_free(struct listener *l); /* stops accepting; NULL is fine */

/* Where it listens, with the port that was chosen. */
#define LISTENER_ADDRESS_SIZE 64
void listener_address(const struct listener *l, char out[LISTENER_ADDRESS_SIZE]);

/* Accepts what the kernel has accepted for us, before listener_free would reset it. */
void listener_take_rest(struct listener *l);

/* Gets the lent descriptor back if there is one to get; NULL is fine. */
void listener_turn_end(struct listener *l);

#endif
