/* legacy_names: see legacy_names.h. The table is the list of what we touch in Redis for
 * the older interface. */
#include "bridge/legacy_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *head, *tail; /* around the run's id */
} names[LEGACY_NAMES] = {
    [LEGACY_KEY_CLASSIC] = {"agent_run:", ":responses"},
    [LEGACY_KEY_NEWER] = {"agent_responses:", ""},
    [LEGACY_KEY_NEWEST] = {"agent_run:", ":stream"},
    [LEGACY_KEY_LOCK] = {"agent_run_lock:", ""},
    [LEGACY_KEY_STOP] = {"agent_run:", ":stop"},
    [LEGACY_NEW_CLASSIC] = {"agent_run:", ":new_response"},
    [LEGACY_NEW_NEWER] = {"agent_responses:", ""},
    [LEGACY_CONTROL_CLASSIC] = {"agent_run:", ":control"},
    [LEGACY_CONTROL_NEWER] = {"agent_control:", ""},
};

bool legacy_id_valid(const char *id, size_t len)
{
    return thread_id_valid(id, len);
}

size_t legacy_name(char out[LEGACY_NAME_SIZE], const char *prefix, enum legacy_name which,
                   const char *run_id)
{
    int n = snprintf(out, LEGACY_NAME_SIZE, "%s%s%s%s", prefix, names[which].head, run_id,
                     names[which].tail);

    if (n < 0 || n >= LEGACY_NAME_SIZE)
        abort(); /* prefix and id were checked: a name that does not fit is a bug */
    return (size_t)n;
}

const char *legacy_run_of_channel(const char *prefix, const char *channel, size_t len,
                                  size_t *ret_len, enum legacy_name *ret_which)
{
    size_t before = strlen(prefix);

    if (len < before || memcmp(channel, prefix, before) != 0)
        return NULL;
    channel += before;
    len -= before;
    for (int i = LEGACY_KEYS; i < LEGACY_NAMES; i++) {
        size_t head = strlen(names[i].head), tail = strlen(names[i].tail);
        if (len <= head + tail || memcmp(channel, names[i].head, head) != 0 ||
            memcmp(channel + len - tail, names[i].tail, tail) != 0 ||
            !legacy_id_valid(channel + head, len - head - tail))
            continue;
        *ret_len = len - head - tail;
        *ret_which = (enum legacy_name)i;
        return channel + head;
    }
    return NULL;
}
