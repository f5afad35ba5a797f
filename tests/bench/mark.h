/* What an event carries so that its reader can judge it: when it was sent, and which of
 * its thread's events it is. The mark stands in the event's text and is found in the
 * bytes as they come, so that neither framing (SSE, chunks, JSON lines) nor merging hides
 * it:
 *
 *     ~00017637123456789.00000017xxxxx…
 *      │                 └ its number; 0 is a probe, which only asks "are you there?"
 *      └ CLOCK_MONOTONIC in ns
 */
#ifndef BENCH_MARK_H
#define BENCH_MARK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define MARK_TIME 17  /* digits */
#define MARK_NUMBER 8 /* digits */
#define MARK_BYTES 27 /* with the ~ and the point, without a NUL */

struct mark {
    uint64_t sent_ns;
    uint32_t number;
};

static inline uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline void mark_digits(char *at, int count, uint64_t value)
{
    for (int i = count - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
}

static inline bool mark_value(const char *at, int count, uint64_t *ret)
{
    uint64_t value = 0;

    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(at[i] - '0');
    }
    *ret = value;
    return true;
}

/* Into MARK_BYTES, without a NUL. */
static inline void mark_write(char *at, struct mark mark)
{
    at[0] = '~';
    mark_digits(at + 1, MARK_TIME, mark.sent_ns);
    at[1 + MARK_TIME] = '.';
    mark_digits(at + 2 + MARK_TIME, MARK_NUMBER, mark.number);
}

/* From MARK_BYTES; false when they are none. */
static inline bool mark_read(const char *at, struct mark *ret)
{
    uint64_t sent_ns, number;

    if (at[0] != '~' || at[1 + MARK_TIME] != '.' ||
        !mark_value(at + 1, MARK_TIME, &sent_ns) ||
        !mark_value(at + 2 + MARK_TIME, MARK_NUMBER, &number))
        return false;
    *ret = (struct mark){sent_ns, (uint32_t)number};
    return true;
}

#endif
