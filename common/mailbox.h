/* mailbox: how one loop's thread tells another's something, now and then. Never on the
 * way of an event: it takes a lock and wakes the other loop. */
#ifndef THREADCAST_MAILBOX_H
#define THREADCAST_MAILBOX_H

#include "common/list.h"

#include <stdbool.h>

struct loop;
struct mailbox;

/* A member of what is sent; belongs to the mailbox until `fn` runs, in the other thread.
 */
struct letter {
    struct list node;
    void (*fn)(struct letter *letter);
};

struct mailbox *
mailbox_new(struct loop *l);          /* of that loop's thread; returns new, or NULL */
void mailbox_free(struct mailbox *m); /* NULL is fine; must be empty */

/* From any thread. Letters are delivered in their order, inside a turn of the loop. */
void mailbox_post(struct mailbox *m, struct letter *letter);

/* Delivers what has come; for when the loop has ended. false: there was nothing. */
bool mailbox_deliver(struct mailbox *m);

#endif
