/* clock: the only file that asks the system for the time. The wall clock may jump and
 * must never drive a timer. */
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_us(clockid_t which)
{
    struct timespec ts;

    clock_gettime(which, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

void clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE])
{
    int64_t ms = wall_ms % 1000;
    time_t seconds = wall_ms / 1000;
    struct tm tm;

    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
        snprintf(out, CLOCK_ISO_SIZE, "0000-00-00T00:00:00.000Z");
        return;
    }
    /* unsigned and reduced, so that the compiler sees that it fits */
    snprintf(out, CLOCK_ISO_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(tm.tm_year + 1900) % 10000u, (unsigned)(tm.tm_mon + 1) % 100u,
             (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u,
             (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u,
             (unsigned)ms % 1000u);
}

/* splitmix64: good enough to spread delays, and it cannot get stuck at zero. */
static uint64_t next_random(void)
{
    static _Thread_local uint64_t state;
    uint64_t x;

    if (!state && getrandom(&state, sizeof(state), 0) != sizeof(state))
        abort();
    x = (state += UINT64_C(0x9E3779B97F4A7C15));
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

int64_t clock_jitter(int64_t ms)
{
    if (ms <= 0)
        return 0;
    return ms / 2 + (int64_t)(next_random() % (uint64_t)ms);
}
