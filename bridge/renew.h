/* renew: how a stream's right ends, and how it goes on: told before it does, given a new
 * ticket, lengthened by a fresh token. */
#ifndef THREADCAST_RENEW_H
#define THREADCAST_RENEW_H

#include "bridge/client.h"

/* From the tick: tells it that its token ends soon, hands it its next ticket, ends it. */
void renew_check(struct client *c);

/* `auth` with that reason, then the end. */
void renew_end(struct client *c, const char *reason, enum close_reason close);

/* Takes `id` in the place of who it was, and says until when that is. */
void renew_take(struct client *c, struct identity *id);

/* "<instance>-<reactor>.<32 hex digits>": nobody guesses one. */
#define CONNECTION_SIZE 64
/* The stream of that name among those of one reactor, if it was ever told it. */
struct client *renew_find(struct clients *set, const char *connection);

#endif
