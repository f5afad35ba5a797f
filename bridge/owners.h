/* owners: hears that the owner of a thread has changed, and has its readers asked about
 * again. */
#ifndef THREADCAST_OWNERS_H
#define THREADCAST_OWNERS_H

#include <stdbool.h>

struct bridge;
struct owners;

/* Listens on a connection of its own, which it puts into b->pg_listen. Needs
 * b->conf->database_url and, from the first notification on, b->hub. Returns new, or
 * NULL. */
struct owners *owners_new(struct bridge *b);
/* Would a change be heard now? */
bool owners_listening(const struct owners *o);
void owners_free(struct owners *o); /* NULL is fine; b->pg_listen is NULL after */

#endif
