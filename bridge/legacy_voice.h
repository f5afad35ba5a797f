/* legacy_voice: says what a worker of ours publishes in the words of Suna's pages: tokens
 * become chunks of an assistant's message, `done` the whole message and a status that
 * their search finds. One reader's; the same run is said in the same words every time. */
#ifndef THREADCAST_LEGACY_VOICE_H
#define THREADCAST_LEGACY_VOICE_H

#include "bridge/legacy_entry.h"
#include "common/buf.h"

#include <stdint.h>

struct msg;

#define LEGACY_TEXT_MAX (128u * 1024) /* of a message that is said again as a whole */

struct legacy_voice {
    const char *run_id; /* borrowed */
    struct buf text;    /* of the message so far, as JSON writes it; failed: too long to
                           be said again */
    int64_t sequence;   /* of what has no id */
    int64_t tools;      /* begun so far */
};

void legacy_voice_init(struct legacy_voice *v, const char *run_id);
void legacy_voice_fini(struct legacy_voice *v);

/* Calls `say` for each entry that the event becomes (none, one, a few); `say` takes the
 * message (NULL: no memory). Returns how the run ended, if that is what it said. */
typedef void legacy_say_fn(void *arg, struct msg *m);
enum legacy_end legacy_voice_say(struct legacy_voice *v, const struct msg *m,
                                 legacy_say_fn *say, void *arg);

#endif
