/* clock: the three times we use. Monotonic ones for timers and latencies, the wall
 * clock only for what leaves the process (`ts`, logs). */
#ifndef THREADCAST_CLOCK_H
#define THREADCAST_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_ms(void);      /* monotonic milliseconds */
int64_t clock_us(void);      /* monotonic microseconds */
int64_t clock_wall_ms(void); /* Unix milliseconds */

/* "2026-11-20T11:22:33.123Z" (24 characters and NUL) for Unix milliseconds. */
#define CLOCK_ISO_SIZE 25
void clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE]);

/* A jittered delay in [ms/2, ms*3/2), from a per-process generator (not for secrets). */
int64_t clock_jitter(int64_t ms);

#endif
