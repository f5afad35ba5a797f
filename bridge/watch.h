/* watch: threads that have gone quiet although a run of theirs is live. Asks whether the
 * workers are still there, tells the readers when one is not (`stalled`), ends runs
 * without a Postgres row whose publisher is gone, and makes sure that no event was missed
 * in silence. */
#ifndef THREADCAST_WATCH_H
#define THREADCAST_WATCH_H

struct bridge;
struct watch;

struct watch *watch_new(struct bridge *b);
void watch_free(struct watch *w); /* NULL is fine */

#endif
