/* state_word: the words in a field of {thread:<id>}:state, as publish.lua writes them:
 * r:<run> = "<attempt> <next> <began> <worker>", x:<run> = "<attempt> <began> <end>". */
#ifndef THREADCAST_STATE_WORD_H
#define THREADCAST_STATE_WORD_H

#include "common/names.h"

#include <string.h>

/* The n-th word (from 0) as an id. */
static inline bool state_word_id(const char *s, size_t len, int n,
                                 struct event_id *ret_id)
{
    const char *end = s + len;
    for (; n > 0; n--) {
        const char *space = memchr(s, ' ', (size_t)(end - s));
        if (!space)
            return false;
        s = space + 1;
    }
    const char *space = memchr(s, ' ', (size_t)(end - s));
    return event_id_parse(s, (size_t)((space ? space : end) - s), ret_id);
}

#endif
