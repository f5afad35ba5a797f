/* book: what there is to be read: threads, and the runs in them. Shared by all readers,
 * so that what one of them saw can be held against what another did. */
#ifndef FARM_BOOK_H
#define FARM_BOOK_H

#include "tests/faults/readers/names.h"
#include "tests/faults/readers/story.h"

#include <stdbool.h>
#include <stdint.h>

enum { SHA256_HEX_SIZE = 65, FIRM_MAX = 1024 };

struct event_id {
    uint64_t epoch, n; /* 0-0: none */
};

static inline bool id_none(struct event_id id)
{
    return id.epoch == 0 && id.n == 0;
}

static inline int id_cmp(struct event_id a, struct event_id b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.n < b.n ? -1 : a.n > b.n;
}

struct run {
    const char *id;
    struct thread *thread;
    uint64_t key; /* of its story */
    char tag[STORY_TAG_SIZE];
    int64_t announced_ms;   /* when */
    const char *message_id; /* of its answer, the same in every attempt */
    bool announced;         /* somebody has a receipt for it */
    int64_t pieces;         /* of its story when it ends well; -1: not known */
    uint8_t end_type; /* enum event_type of its end, and its code, as somebody saw it */
    const char *end_code;
    struct event_id last_begin; /* its latest `started` or `rewind` that anybody saw */
    struct {                    /* the last text that was asked for, as its SHA-256 */
        uint32_t attempt;
        uint64_t bytes;
        char sha256[SHA256_HEX_SIZE];
    } memo;
};

struct thread {
    const char *id;
    struct run **announced; /* in the order in which they were */
    size_t announced_count, announced_size;
    /* Ids that merging cannot have swallowed, because no token has them: a ring in the
     * order in which they were first seen, rising. */
    struct event_id *firm;
    size_t firm_at, firm_count;
};

struct book {
    uint64_t seed;
    struct names threads, runs, tags, words;
};

void book_fini(struct book *b);

/* NULL when it is not there and is not to be made. */
struct thread *book_thread(struct book *b, const char *id, size_t len, bool make);

/* Made in `thread` when it is new: look at run->thread whether it is another's. */
struct run *book_run(struct book *b, struct thread *thread, const char *id, size_t len);

struct run *book_run_of_tag(const struct book *b, const char *tag);

/* A copy of a short text that lives as long as the book: codes, reasons. */
const char *book_word(struct book *b, const char *text);

void run_announce(struct run *r, int64_t pieces, int64_t now_ms);

/* The SHA-256 of the first `bytes` of the story of that attempt. */
const char *run_sha256(struct run *r, uint32_t attempt, uint64_t bytes);

void thread_saw_firm(struct thread *t, struct event_id id);

/* Is there such an id between the two, neither of them included? Which? */
bool thread_firm_between(const struct thread *t, struct event_id after,
                         struct event_id before, struct event_id *ret_id);

#endif
