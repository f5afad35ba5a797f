/* legacy_names: what Suna and its forks call things in Redis. Three families: the classic
 * list, the fork's newer list, the newest stream. A run's id holds no colon, so no name
 * of one run can be that of another. */
#ifndef THREADCAST_LEGACY_NAMES_H
#define THREADCAST_LEGACY_NAMES_H

#include "common/names.h"

#include <stdbool.h>
#include <stddef.h>

#define LEGACY_ID_MAX THREAD_ID_MAX
#define LEGACY_NAME_SIZE (NAMES_PREFIX_MAX + LEGACY_ID_MAX + 40)

/* Which keys a run uses; the numbers are those of legacy_page.c's script. */
enum legacy_family {
    LEGACY_UNKNOWN, /* nothing is there yet */
    LEGACY_CLASSIC, /* list agent_run:<id>:responses */
    LEGACY_NEWER,   /* list agent_responses:<id> */
    LEGACY_NEWEST,  /* stream agent_run:<id>:stream, field `data` */
};

enum legacy_name {
    LEGACY_KEY_CLASSIC,
    LEGACY_KEY_NEWER,
    LEGACY_KEY_NEWEST,
    LEGACY_KEY_LOCK, /* a worker of theirs is at it */
    LEGACY_KEY_STOP, /* the newest's wish to stop */
    LEGACY_KEYS,
    LEGACY_NEW_CLASSIC = LEGACY_KEYS, /* channels from here on */
    LEGACY_NEW_NEWER,
    LEGACY_CONTROL_CLASSIC,
    LEGACY_CONTROL_NEWER,
    LEGACY_NAMES,
};
enum { LEGACY_CHANNELS = LEGACY_NAMES - LEGACY_KEYS };

/* A run's id as we take it: as thread ids are. */
bool legacy_id_valid(const char *id, size_t len);

/* NUL-terminated; the result is its length. */
size_t legacy_name(char out[LEGACY_NAME_SIZE], const char *prefix, enum legacy_name which,
                   const char *run_id);

/* The run's id inside the name of a channel, and which it is. NULL: none of these.
 * Borrows. */
const char *legacy_run_of_channel(const char *prefix, const char *channel, size_t len,
                                  size_t *ret_len, enum legacy_name *ret_which);

#endif
