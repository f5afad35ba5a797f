/* housekeeping: now and then deletes a little of what is too old in Postgres, and lets go
 * runs that a switched-off trigger has left waiting. Logs and states in Redis expire by
 * themselves, together. */
#ifndef THREADCAST_WORKER_HOUSEKEEPING_H
#define THREADCAST_WORKER_HOUSEKEEPING_H

struct housekeeping;
struct worker;

struct housekeeping *housekeeping_new(struct worker *w);
void housekeeping_free(struct housekeeping *h);

#endif
