/* A bucket's number is the place of the highest bit and the six bits behind it. */
#include "histogram.h"

static unsigned bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < 64)
        return (unsigned)ns;
    shift = 63 - 6 - (unsigned)__builtin_clzll(ns);
    return (shift + 1) * 64 + (unsigned)((ns >> shift) & 63);
}

/* the middle of the bucket */
static uint64_t bucket_ns(unsigned bucket)
{
    unsigned shift;

    if (bucket < 64)
        return bucket;
    shift = bucket / 64 - 1;
    return ((uint64_t)(64 + bucket % 64) << shift) + ((1ull << shift) >> 1);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count[bucket_of(ns)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;

    if (h->total == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->count[i];
        if (seen > wanted || seen == h->total)
            return bucket_ns(i) < h->max_ns ? bucket_ns(i) : h->max_ns;
    }
    return h->max_ns;
}
