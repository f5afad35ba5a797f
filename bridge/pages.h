/* pages: reads of logs, a limited number at once; the others wait their turn, and those
 * who want the same share one. A read that Redis did not answer is asked again when Redis
 * is back. */
#ifndef THREADCAST_PAGES_H
#define THREADCAST_PAGES_H

#include "common/event.h"
#include "common/names.h"

#include <stdbool.h>
#include <stddef.h>

struct bridge;
struct page;
struct pages;
struct redis;
struct redis_reply;
struct replay;

struct pages *pages_new(struct bridge *b, struct redis *r, size_t at_once);
void pages_free(struct pages *p);  /* every page must have been cancelled */
void pages_ready(struct pages *p); /* Redis is back */
void pages_close(struct pages *p); /* nothing is asked any more */

/* `entries` is borrowed; NULL: no memory. `shared[0]` and `shared[1]` are for what the
 * readers of one answer make of it once for all of them (unmerged, merged); freed behind
 * the last one. */
typedef void page_fn(const struct redis_reply *entries, struct replay **shared,
                     void *arg);

/* Reads up to `count` entries from `from` on (inclusive, or behind it). Calls fn once,
 * unless cancelled; the page is gone before that. NULL: no memory. */
struct page *page_read(struct pages *p, const char *thread_id, struct event_id from,
                       bool inclusive, int count, page_fn *fn, void *arg);
void page_cancel(struct page *page); /* NULL is fine */
/* Redis has refused this read; it will be asked again. */
bool page_refused(const struct page *page);

/* One entry of the answer: its id and the event in it. false: not an entry of ours
 * (no field `e`, an id that is none). `view` is filled when `json` is a valid event of
 * that thread, else json is {NULL, 0}. */
bool page_entry(const struct redis_reply *entries, size_t i, const char *thread_id,
                struct event_id *ret_id, struct span *ret_json,
                struct event_view *ret_view);

/* Is `pos` a good position, by the first entry of an inclusive read from it on? Its own
 * entry is there, or its successor in the same epoch is. */
bool page_proves(const struct redis_reply *entries, struct event_id pos);

#endif
