/* pace: see pace.h. How long the way takes is unknown, and so is the bridge's clock; but
 * the quickest piece has waited for nobody, so the others' delay is measured by it.
 * Whoever holds text back holds the first of it longest, and a probe is so short that it
 * fits into anybody's buffer: only when `hello` came with the last pieces it is called
 * held, as a machine that was busy for a moment delays some of them, too. */
#include "cli/pace.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return (x > y) - (x < y);
}

/* How much came together: what is closer than half a step belongs together. */
static void find_heaps(const struct answer *a, int64_t apart_us, struct pace *ret)
{
    size_t sizes[STREAM_PIECES_MAX + 1], count = 0, from = 0;

    for (size_t i = 1; i < a->arrival_count && count < STREAM_PIECES_MAX; i++) {
        if (a->arrivals[i].us - a->arrivals[i - 1].us < apart_us)
            continue;
        sizes[count++] = a->arrivals[i - 1].bytes - from;
        from = a->arrivals[i - 1].bytes;
    }
    if (!count)
        return;
    qsort(sizes, count, sizeof(*sizes), compare_sizes);
    ret->heap_bytes = sizes[count / 2];
}

struct pace pace_of(const struct stream *s, const struct answer *a, int64_t every_ms)
{
    int64_t late[STREAM_PIECES_MAX], quickest = INT64_MAX;
    int64_t apart_us = every_ms * 500;
    struct pace p = {.pieces = s->count};

    for (size_t i = 0; i < s->count; i++) {
        late[i] = s->pieces[i].came_us - s->pieces[i].sent_ms * 1000;
        if (late[i] < quickest)
            quickest = late[i];
        if (i == 0 || s->pieces[i].came_us - s->pieces[i - 1].came_us >= apart_us)
            p.heaps++;
    }
    if (!s->count)
        return p;
    qsort(late, s->count, sizeof(*late), compare);
    p.late_median_ms = (late[s->count / 2] - quickest) / 1000;
    p.late_max_ms = (late[s->count - 1] - quickest) / 1000;
    p.hello_late_ms = s->hello ? (s->hello_us - quickest) / 1000 : 0;
    find_heaps(a, apart_us, &p);
    int64_t length_ms = s->pieces[s->count - 1].sent_ms - s->pieces[0].sent_ms;
    p.held =
        s->count >= 4 && p.heaps * 4 <= s->count && p.hello_late_ms * 4 >= length_ms * 3;
    p.uneven = p.heaps * 2 <= s->count && p.late_median_ms >= 2 * every_ms;
    return p;
}
