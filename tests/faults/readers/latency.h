/* latency: how late live events are, in classes of milliseconds. */
#ifndef FARM_LATENCY_H
#define FARM_LATENCY_H

#include <jansson.h>
#include <stdint.h>

enum { LATENCY_CLASSES = 18 };

struct latency {
    uint64_t counts[LATENCY_CLASSES];
    int64_t max_ms;
};

void latency_add(struct latency *l, int64_t ms);

/* {"count", "p50", "p99", "max", "classes": {"1": …}}: upper bounds in ms, of which the
 * last is the maximum's. */
json_t *latency_json(const struct latency *l);

#endif
