/* openai_pace: text that came in one piece is said in steps, for readers who expect to
 * see it grow. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_PACE_H
#define THREADCAST_WORKER_AGENTS_OPENAI_PACE_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct timer;

struct openai_pace {
    struct buf text; /* of which `at` bytes were said */
    size_t at;
    int64_t rate; /* pieces a second, above 0 */
    bool paused, going;
    struct timer *tick;
    void (*on_piece)(const char *text, size_t len, void *arg);
    void (*on_end)(void *arg); /* all of it was said */
    void *arg;
};

/* false: no memory. The callbacks are the caller's to set. */
bool openai_pace_init(struct openai_pace *p, struct loop *l, int64_t rate);
void openai_pace_fini(struct openai_pace *p);
void openai_pace_start(struct openai_pace *p); /* the first piece comes at once */
void openai_pace_pause(struct openai_pace *p);
void openai_pace_resume(struct openai_pace *p);

#endif
