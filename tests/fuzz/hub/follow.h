/* follow: one who reads a stream and checks every event of it against the truth: each
 * once and in order behind its position, or a `reset` (C1); of its own threads only (C4);
 * every id a position behind which nothing was left out. It knows what was sent by the
 * bytes alone, through sse_reader. */
#ifndef THREADCAST_FUZZ_FOLLOW_H
#define THREADCAST_FUZZ_FOLLOW_H

#include "../sse_reader.h"
#include "truth.h"

enum { FOLLOW_THREADS = 3, FOLLOW_ID = 3 * EVENT_ID_SIZE };

enum follow_how {
    FOLLOW_ANY,    /* the bridge says where it begins */
    FOLLOW_AFTER,  /* exactly behind `at` */
    FOLLOW_BEHIND, /* behind `at`, with nothing kept in between */
    FOLLOW_LOST,   /* a position that is none: `reset` must come first */
};

/* Where it stands in one thread. */
struct follow_place {
    enum follow_how how;
    struct event_id at;
    int last; /* entry; -1: none since `at` */
};

struct follow {
    int socket;
    int threads[FOLLOW_THREADS]; /* numbers in truth */
    int count;
    int run; /* that run alone; -1: all */
    bool merge, since_run, since_now;
    bool alone;    /* nobody else asked Redis when it was opened */
    bool saw_end;  /* of the run it follows */
    uint32_t step; /* when it was opened */
    struct follow_place places[FOLLOW_THREADS];
    char last_id[FOLLOW_ID]; /* "": none */
    struct sse_reader sse;
};

/* `since`: what the request said, an id for each thread; "": nothing, or run, or now. */
void follow_begin(struct follow *f, const char *since);
void follow_bytes(struct follow *f, const char *bytes, size_t len);
void follow_end(struct follow *f);
/* Nothing is under way any more: has it got everything that is kept? `positions`: and is
 * every position one that the log can prove? */
void follow_check_all(const struct follow *f, bool positions);

#endif
