/* legacy_page: one read of an older run: what stands behind a position, and how the run
 * looks in Redis, both at the same moment. The size of an answer is bounded in Redis
 * itself: nobody checks what other people's workers put into their lists. */
#ifndef THREADCAST_LEGACY_PAGE_H
#define THREADCAST_LEGACY_PAGE_H

#include "bridge/legacy_names.h"
#include "common/event.h"

#include <stdbool.h>
#include <stdint.h>

struct bridge;
struct redis_reply;

#define LEGACY_PLACE_SIZE 48

/* Where a reader stands: the last entry that it has read, and what that held, so that a
 * list which has begun anew is not taken for the old one. */
struct legacy_place {
    enum legacy_family family;
    int64_t next;                 /* of a list: index of the next entry */
    char last[LEGACY_PLACE_SIZE]; /* of the stream: id of the last one; "": none */
    uint64_t proof;               /* of the last one's bytes; 0: none is known */
};

struct legacy_page {
    enum legacy_family family; /* found, or the place's */
    int64_t length;            /* entries there are */
    int64_t ttl_s;             /* -1: none, -2: nothing is there */
    bool locked, stopping; /* a worker of theirs is at it; the newest's wish to stop */
    bool more;             /* there was more than this page holds */
    struct span tail;      /* the very last entry, when asked for */
    size_t count;
    const struct redis_reply *reply; /* borrowed: entries by legacy_page_entry */
};

/* NULL: Redis did not answer, or refused. */
typedef void legacy_page_fn(const struct legacy_page *page, void *arg);

/* Reads from the place's last entry on (that one too: it proves the place). With `tail`
 * it only looks: longer entries are left out sooner, and the last one comes too. Calls fn
 * exactly once, from the loop; false: it cannot be asked, fn is not called. */
bool legacy_page_read(struct bridge *b, const char *run_id,
                      const struct legacy_place *place, int count, bool tail,
                      legacy_page_fn *fn, void *arg);

/* The i-th entry: its index or id, and its bytes; {NULL, 0}: longer than an entry may be
 * (LEGACY_ENTRY_MAX), or none (a stream's without `data`). */
struct span legacy_page_entry(const struct legacy_page *page, size_t i,
                              struct span *ret_place);

/* Does the page begin with what the place says? Then *ret_first is where the news
 * begins. */
bool legacy_page_proves(const struct legacy_page *page, const struct legacy_place *place,
                        size_t *ret_first);

/* Moves the place behind the i-th entry. */
void legacy_place_move(struct legacy_place *place, const struct legacy_page *page,
                       size_t i);

/* A stream's id as `?last_id=` has it: `<ms>` or `<ms>-<n>`. */
bool legacy_place_valid(const char *last_id);

#endif
