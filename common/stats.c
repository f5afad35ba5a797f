/* stats: numbers become Prometheus text, only when somebody asks. Counting itself is an
 * addition in the caller. */
#include "common/stats.h"

#include <stdbool.h>
#include <string.h>

/* Upper bounds in microseconds, and the same in seconds as Prometheus shows them. */
static const int64_t bound_us[STATS_BUCKETS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};
static const char *const bound_text[STATS_BUCKETS] = {
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
    "0.05",   "0.1",     "0.25",   "0.5",   "1",      "2.5",   "5",    "10",
};

void stats_observe(struct stats_histogram *h, int64_t us)
{
    size_t i = 0;

    if (us < 0)
        us = 0;
    while (i < STATS_BUCKETS && us > bound_us[i])
        i++;
    h->bucket[i]++;
    h->count++;
    h->sum_us += (uint64_t)us;
}

static void add_numbers(void *sum, const void *base, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t a, b;
        memcpy(&a, (char *)sum + i * sizeof(a), sizeof(a));
        memcpy(&b, (const char *)base + i * sizeof(b), sizeof(b));
        a += b;
        memcpy((char *)sum + i * sizeof(a), &a, sizeof(a));
    }
}

void stats_add(const struct stats_row *rows, size_t count, void *sum, const void *base)
{
    for (size_t i = 0; i < count; i++) {
        bool histogram = rows[i].kind == STATS_HISTOGRAM_US;
        size_t size = histogram ? sizeof(struct stats_histogram) : sizeof(uint64_t);
        add_numbers((char *)sum + rows[i].offset, (const char *)base + rows[i].offset,
                    size / sizeof(uint64_t));
    }
}

static void add_labels(struct buf *out, const char *labels)
{
    if (labels)
        buf_printf(out, "{%s}", labels);
}

static void render_number(const struct stats_row *row, uint64_t n, struct buf *out)
{
    buf_str(out, row->name);
    add_labels(out, row->labels);
    buf_printf(out, " %llu\n", (unsigned long long)n);
}

static void render_histogram(const struct stats_row *row, const struct stats_histogram *h,
                             struct buf *out)
{
    const char *labels = row->labels ? row->labels : "", *comma = row->labels ? "," : "";
    uint64_t sum = 0;

    for (size_t i = 0; i <= STATS_BUCKETS; i++) {
        sum += h->bucket[i];
        buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", row->name, labels, comma,
                   i < STATS_BUCKETS ? bound_text[i] : "+Inf", (unsigned long long)sum);
    }
    buf_printf(out, "%s_sum", row->name);
    add_labels(out, row->labels);
    buf_printf(out, " %llu.%06llu\n", (unsigned long long)(h->sum_us / 1000000),
               (unsigned long long)(h->sum_us % 1000000));
    buf_printf(out, "%s_count", row->name);
    add_labels(out, row->labels);
    buf_printf(out, " %llu\n", (unsigned long long)h->count);
}

void stats_render(const struct stats_row *rows, size_t count, const void *base,
                  struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    for (size_t i = 0; i < count; i++) {
        const struct stats_row *row = &rows[i];
        const char *at = (const char *)base + row->offset;
        if (row->help)
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help,
                       row->name, kinds[row->kind]);
        if (row->kind == STATS_HISTOGRAM_US) {
            struct stats_histogram h;
            memcpy(&h, at, sizeof(h));
            render_histogram(row, &h, out);
        } else {
            uint64_t n;
            memcpy(&n, at, sizeof(n));
            render_number(row, n, out);
        }
    }
}
