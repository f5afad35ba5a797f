/* forget: a thread whose row is gone leaves nothing in Redis. */
#ifndef THREADCAST_FORGET_H
#define THREADCAST_FORGET_H

struct bridge;

/* Asks Postgres whether the thread is really gone and deletes its log and state then.
 * Tries again while Postgres or Redis is away. What a bridge that dies meanwhile forgets
 * to forget expires by itself. */
void forget_thread(struct bridge *b, const char *thread_id);
/* Gives up what still waits. */
void forget_free(struct bridge *b);

#endif
