/* wakes: which reader wants to be woken next: a binary heap by time, one place each. */
#ifndef FARM_WAKES_H
#define FARM_WAKES_H

#include <stddef.h>
#include <stdint.h>

struct reader;

struct wakes {
    struct reader **heap;
    size_t count, size;
};

void wakes_fini(struct wakes *w);

/* At `at_ms` and no other time; 0: not at all. */
void wakes_set(struct wakes *w, struct reader *r, int64_t at_ms);

/* Takes the next one that is due; NULL: none is. */
struct reader *wakes_due(struct wakes *w, int64_t now_ms);

/* Milliseconds until somebody is due, at most `max_ms`. */
int wakes_wait(const struct wakes *w, int64_t now_ms, int max_ms);

#endif
