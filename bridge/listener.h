/* listener: the accepting socket. SO_REUSEPORT, so that a new process or another
 * reactor may accept beside us. Pauses on EMFILE/ENFILE and tries again. */
#ifndef THREADCAST_LISTENER_H
#define THREADCAST_LISTENER_H

#include "common/buf.h"

#include <stdbool.h>

struct bridge;
struct listener;

/* `address` is host:port, port 0 lets the system choose. Logs `listening address=…`. */
struct listener *listener_new(struct bridge *b, const char *address, struct buf *err);
void listener_free(struct listener *l); /* stops accepting; NULL is fine */

#endif
