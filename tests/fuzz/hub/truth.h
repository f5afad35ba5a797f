/* truth: what really happened in the threads: every event that was ever in a log, in
 * order, with the one that stood before it. A model of publish.lua's rules. */
#ifndef THREADCAST_FUZZ_TRUTH_H
#define THREADCAST_FUZZ_TRUTH_H

#include "common/buf.h"
#include "common/names.h"

#include <stdbool.h>
#include <stdint.h>

enum { TRUTH_THREADS = 3, TRUTH_ENTRIES = 400, TRUTH_ENDED = 8, TRUTH_LIVE = 2 };

enum truth_kind { TRUTH_TOKEN, TRUTH_DELTA, TRUTH_STARTED, TRUTH_DONE };

struct truth_entry {
    struct event_id id;
    enum truth_kind kind;
    int run;        /* -1: none */
    int before;     /* the entry in front of it in the log then; -1: none */
    int run_before; /* the same among those of its run, trimmed ones too */
    uint32_t step;  /* when it was written */
    uint8_t padding;
    bool gone;    /* trimmed, or forgotten by Redis */
    bool trimmed; /* and had its successors then: they follow it for who has got it */
};

struct truth_run {
    int run;
    struct event_id began, ended;
};

struct truth_thread {
    const char *name;
    struct truth_entry entries[TRUTH_ENTRIES];
    int count;
    struct event_id last;              /* that was given out */
    bool fresh_epoch;                  /* the next event begins one */
    int runs;                          /* so many have begun */
    struct truth_run live[TRUTH_LIVE]; /* run -1: none */
    uint32_t live_step;                /* when `live` last changed */
    struct truth_run ended[TRUTH_ENDED];
    int ended_count;
};

struct truth {
    struct truth_thread threads[TRUTH_THREADS];
    uint32_t step;
    bool worker_alive;
};

extern struct truth truth;

void truth_init(void);
/* An event of the `live`-th live run, which `started` begins, or of none. Returns the
 * entry's number, or -1: there is no room. */
int truth_append(struct truth_thread *t, enum truth_kind kind, int live, uint8_t padding);
/* The smallest beginning of the live runs; false: none is live. */
bool truth_began(const struct truth_thread *t, struct event_id *ret_began);
/* The first `count` entries leave the log, but for the last one. */
void truth_trim(struct truth_thread *t, int count);
/* Another Redis: the last `count` entries are forgotten; all: and the state. */
void truth_lose(struct truth_thread *t, int count, bool all);

/* The JSON of one event, or of neighbouring tokens merged. */
void truth_json(const struct truth_thread *t, const int *entries, int count,
                struct buf *out);
/* The numbers in an event's content, and whose thread's it says it is. false: it is not
 * of the form that truth_json writes. */
bool truth_read(const char *json, int *ret_thread, int *ret_entries, int max,
                int *ret_count);
int truth_tail(const struct truth_thread *t, int run); /* last kept one; run -1: any */
void truth_run_id(int run, char out[UUID_SIZE]);

#endif
