/* clockwork: time and dialling as the input of fuzz_redis_conn says: no timer runs and no
 * socket is there by itself. */
#ifndef THREADCAST_FUZZ_CLOCKWORK_H
#define THREADCAST_FUZZ_CLOCKWORK_H

#include "common/list.h"
#include "common/redis_dial.h"

#include <stdint.h>

struct redis_dial {
    redis_dial_fn *fn;
    void *arg;
};

extern struct redis_dial *dial; /* the one that waits, or NULL */
extern struct list timers;      /* all that there are */

void time_begins(void);
void time_passes(int64_t ms); /* the timers that are due run, the earliest first */

#endif
