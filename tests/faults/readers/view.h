/* view: what one reader has seen of one thread, and the courses of its runs. A few words
 * for each, because there are thousands of readers. */
#ifndef FARM_VIEW_H
#define FARM_VIEW_H

#include "tests/faults/readers/book.h"
#include "tests/faults/readers/event.h"

enum { VIEWS_MAX = 32, ID_TEXT_MAX = 44 };

/* What a reader knows of a run. */
struct course {
    struct run *run;
    struct event_id ended_at;  /* 0-0: its end was not seen */
    const char *code;          /* finishReason or code */
    uint64_t bytes, end_bytes; /* of its text: now, and when it ended */
    uint32_t attempt, end_attempt;
    uint32_t piece; /* the next byte of text is byte `offset` of that piece */
    uint8_t offset;
    bool joined;      /* its text is known from the beginning */
    bool broken;      /* its text was wrong once, and is not looked at any more */
    bool freed;       /* a reset lies behind all that is known: it may come again */
    bool end_whole;   /* joined and not broken when it ended */
    bool was_reset;   /* a reset may have swallowed its end: not heard of since */
    uint8_t end_type; /* enum event_type */
};

struct view {
    struct thread *thread;
    struct event_id pos, start; /* start: behind which all was seen */
    bool has_pos, has_start;
    uint32_t resets;
    int64_t reset_ms;  /* the last one */
    size_t first_open; /* in thread->announced: all before it is settled */
    size_t opened_at;  /* runs announced since then are owed to this reader */
    struct course *courses;
    uint32_t course_count, course_size;
};

/* `make`: or NULL when it is not there. */
struct course *view_course(struct view *v, struct run *run, bool make);

/* Of this run nothing was seen: may a reset have swallowed all of it? */
bool view_excuses(const struct view *v, const struct run *run);

/* Runs whose end this reader has still to see, without those that a reset excuses. */
size_t view_open(struct view *v, size_t *ret_excused);

/* Forgets what a reset makes void. */
void view_reset(struct view *v, int64_t now_ms);

#endif
