/* ears: hear when somebody who only reads says something, or goes. One set for all
 * streams of a reactor, itself a single event of its loop: an event of libevent's for
 * each would cost 128 bytes a stream, which is what all else about it may cost twice. */
#ifndef THREADCAST_EARS_H
#define THREADCAST_EARS_H

#include <stdbool.h>

struct ears;
struct loop;

/* `fn` is called, with what was given to ears_add, as long as there is something to read.
 * Returns new, or NULL. */
struct ears *ears_new(struct loop *l, void (*fn)(void *arg));
void ears_free(struct ears *e); /* NULL is fine */

/* false: no memory. `arg` must live to the end of the turn in which it is taken off. */
bool ears_add(struct ears *e, int fd, void *arg);
/* Before the descriptor is closed. */
void ears_remove(struct ears *e, int fd);

#endif
