/* hear: whether LISTEN hears anything. Through a pooler it does when that pools by
 * sessions, and does not, without a word, when it pools by transactions; from here both
 * look alike. So a word is sent over another connection, and the listening one dropped
 * when it does not arrive. A connection without a pooler is not asked. */
#ifndef THREADCAST_PG_HEAR_H
#define THREADCAST_PG_HEAR_H

#include <stdbool.h>

struct loop;
struct pg;
struct pg_hear;
struct pg_pool;

#define PG_HEAR_CHANNEL "canary" /* to be among those that `listen` listens on */

/* Borrows all three, for its life. Returns new. */
struct pg_hear *pg_hear_new(struct loop *l, struct pg_pool *pool, const char *schema);
void pg_hear_free(struct pg_hear *h);
void pg_hear_start(struct pg_hear *h, struct pg *listen); /* it is READY */
void pg_hear_stop(struct pg_hear *h);                     /* it is not any more */
/* true: nothing is open: it was heard, or nobody had to ask. */
bool pg_hear_proven(const struct pg_hear *h);
/* From on_notify. true: it was for us. */
bool pg_hear_notify(struct pg_hear *h, const char *channel, const char *payload);

#endif
