/* stats: counters, gauges and histograms that end up as Prometheus text. One table per
 * daemon names them; a number is changed by adding to a plain uint64_t. One struct per
 * loop, nothing shared. */
#ifndef THREADCAST_STATS_H
#define THREADCAST_STATS_H

#include "common/buf.h"

#include <stddef.h>
#include <stdint.h>

enum stats_kind { STATS_COUNTER, STATS_GAUGE, STATS_HISTOGRAM_US };

struct stats_row {
    const char *name;   /* "threadcast_bridge_drops_total" */
    const char *labels; /* "reason=\"slow\"", or NULL */
    const char *help;   /* NULL: the same family as the row above */
    enum stats_kind kind;
    size_t offset; /* of a uint64_t, or of a struct stats_histogram */
};

/* Fixed buckets from 100 µs to 10 s, rendered in seconds. */
#define STATS_BUCKETS 16
struct stats_histogram {
    uint64_t bucket[STATS_BUCKETS + 1];
    uint64_t count, sum_us;
};

void stats_observe(struct stats_histogram *h, int64_t us);
/* Adds the struct at `base` to the one at `sum`, row by row. */
void stats_add(const struct stats_row *rows, size_t count, void *sum, const void *base);
/* Appends Prometheus text for the struct at `base`. */
void stats_render(const struct stats_row *rows, size_t count, const void *base,
                  struct buf *out);

#endif
