/* reader: the bridge's Redis connection for questions: pages of a log, the state of a
 * thread, cursors. Never publishes. */
#ifndef THREADCAST_READER_H
#define THREADCAST_READER_H

#include "common/names.h"
#include "common/redis.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bridge;
struct pages;
struct reader;

struct reader *reader_new(struct bridge *b);
void reader_free(struct reader *r);
/* Ends its connection: every question is answered (ok = false), pages wait for ever. */
void reader_close(struct reader *r);
bool reader_ready(const struct reader *r);
int64_t reader_heard_ms(const struct reader *r); /* when it last answered; 0: away */
struct redis *reader_redis(struct reader *r);
struct pages *reader_pages(struct reader *r);
struct bridge *reader_bridge(struct reader *r);

/* Do we know what `v` of a thread's state says? false: a later version keeps it, and what
 * it means is not ours to guess (counted, and logged now and then). */
bool reader_knows(struct reader *r, const char *thread_id, const struct redis_reply *v);
/* The same, of a whole state (HGETALL). */
bool reader_knows_state(struct reader *r, const char *thread_id,
                        const struct redis_reply *state);

/* Where the live runs of a thread stand, from {thread:<id>}:state and the tail of the
 * log, read in one go. */
struct thread_cursor {
    bool ok;              /* false: Redis did not answer */
    bool exists;          /* a state or a log is there */
    bool live;            /* a run is live */
    struct event_id run;  /* position (exclusive) before the smallest beginning of the
                             live runs, moved back until it cuts no ended run; the tail
                             when no run is live */
    struct event_id tail; /* last id of the log; zero: empty */
};
typedef void cursor_fn(const struct thread_cursor *cursor, void *arg);

/* Calls fn exactly once, with ok = false when Redis is away or silent. */
void reader_cursor(struct reader *r, const char *thread_id, cursor_fn *fn, void *arg);

#endif
