/* forget: a thread whose row is gone leaves nothing in Redis. */
#ifndef THREADCAST_FORGET_H
#define THREADCAST_FORGET_H

struct bridge;

/* Asks Postgres whether the thread is really gone and deletes its log and state then. A
 * notification that nobody heard is no harm: the keys expire. */
void forget_thread(struct bridge *b, const char *thread_id);

#endif
