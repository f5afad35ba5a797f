/* latency: see the header. */
#include "tests/faults/readers/latency.h"

#include <stdio.h>

static const int64_t bounds[LATENCY_CLASSES] = {
    1,   2,   3,   5,    10,   20,   30,    50,    100,
    200, 300, 500, 1000, 2000, 5000, 10000, 30000, INT64_MAX};

void latency_add(struct latency *l, int64_t ms)
{
    int i = 0;

    while (ms > bounds[i])
        i++;
    l->counts[i]++;
    if (ms > l->max_ms)
        l->max_ms = ms;
}

static int64_t bound(const struct latency *l, int i)
{
    return bounds[i] < l->max_ms ? bounds[i] : l->max_ms;
}

static int64_t quantile(const struct latency *l, uint64_t total, uint64_t thousandths)
{
    uint64_t wanted = (total * thousandths + 999) / 1000, seen = 0;

    for (int i = 0; i < LATENCY_CLASSES; i++) {
        seen += l->counts[i];
        if (seen >= wanted)
            return bound(l, i);
    }
    return 0;
}

json_t *latency_json(const struct latency *l)
{
    json_t *classes = json_object();
    uint64_t total = 0;
    char name[24];

    for (int i = 0; i < LATENCY_CLASSES; i++) {
        total += l->counts[i];
        snprintf(name, sizeof(name), "%lld", (long long)bound(l, i));
        if (l->counts[i])
            json_object_set_new(classes, name, json_integer((json_int_t)l->counts[i]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "count", (json_int_t)total, "p50",
                     (json_int_t)quantile(l, total, 500), "p99",
                     (json_int_t)quantile(l, total, 990), "max", (json_int_t)l->max_ms,
                     "classes", classes);
}
