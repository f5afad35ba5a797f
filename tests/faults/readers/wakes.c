/* wakes: see the header. reader->wake_at is 1 + its place, kept in step here alone. */
#include "tests/faults/readers/wakes.h"

#include "tests/faults/readers/mem.h"
#include "tests/faults/readers/reader.h"

void wakes_fini(struct wakes *w)
{
    free(w->heap);
    *w = (struct wakes){0};
}

static void put(struct wakes *w, size_t i, struct reader *r)
{
    w->heap[i] = r;
    r->wake_at = i + 1;
}

/* Moves the one at i to where it belongs. */
static void settle(struct wakes *w, size_t i)
{
    struct reader *r = w->heap[i];

    while (i > 0 && w->heap[(i - 1) / 2]->wake_ms > r->wake_ms) {
        put(w, i, w->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < w->count && w->heap[child + 1]->wake_ms < w->heap[child]->wake_ms)
            child++;
        if (child >= w->count || w->heap[child]->wake_ms >= r->wake_ms)
            break;
        put(w, i, w->heap[child]);
        i = child;
    }
    put(w, i, r);
}

static void take_out(struct wakes *w, struct reader *r)
{
    size_t i = r->wake_at - 1;
    struct reader *last = w->heap[--w->count];

    r->wake_at = 0;
    if (last == r)
        return;
    put(w, i, last);
    settle(w, i);
}

void wakes_set(struct wakes *w, struct reader *r, int64_t at_ms)
{
    if (!at_ms) {
        if (r->wake_at)
            take_out(w, r);
        return;
    }
    if (!r->wake_at) {
        if (w->count == w->size) {
            w->size = w->size ? w->size * 2 : 256;
            w->heap = mem_more(w->heap, w->size, sizeof(struct reader *));
        }
        put(w, w->count++, r);
    }
    r->wake_ms = at_ms;
    settle(w, r->wake_at - 1);
}

struct reader *wakes_due(struct wakes *w, int64_t now_ms)
{
    struct reader *r = w->count ? w->heap[0] : NULL;

    if (!r || r->wake_ms > now_ms)
        return NULL;
    take_out(w, r);
    return r;
}

int wakes_wait(const struct wakes *w, int64_t now_ms, int max_ms)
{
    int64_t left = w->count ? w->heap[0]->wake_ms - now_ms : max_ms;

    return left < 0 ? 0 : left < max_ms ? (int)left : max_ms;
}
