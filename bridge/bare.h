/* bare: who publishes without publish.lua is named in the log. Such an event is delivered
 * and cannot be resumed: whoever reconnects never sees it. */
#ifndef THREADCAST_BARE_H
#define THREADCAST_BARE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BARE_LINES_PER_MIN = 10,
    BARE_FORGET_MS = 3600000, /* so 600 names are kept, at most */
};

struct bare;

struct bare *bare_new(void); /* returns new, or NULL */
void bare_free(struct bare *b);

/* A bare event was passed on: says so once an hour for each thread, a few times a minute
 * for all of them. true: it did. now_ms is monotonic. */
bool bare_seen(struct bare *b, const char *prefix, const char *thread_id, int64_t now_ms);

#endif
