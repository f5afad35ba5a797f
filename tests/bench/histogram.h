/* Durations in logarithmic buckets, 64 to each doubling (1.6 % wide), so that millions of
 * latencies cost 30 KB and a percentile is exact enough to compare servers by. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (59 * 64)

struct histogram {
    uint64_t count[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The duration that a share of all (0 to 1) do not exceed; 0 when there are none. */
uint64_t histogram_at(const struct histogram *h, double share);

#endif
