#include "common/stats.h"

#include "unit.h"

struct numbers {
    uint64_t in, slow, gone, open;
    struct stats_histogram latency, other;
};

static const struct stats_row rows[] = {
    {"events_total", NULL, "Events read.", STATS_COUNTER, offsetof(struct numbers, in)},
    {"drops_total", "reason=\"slow\"", "Clients dropped.", STATS_COUNTER,
     offsetof(struct numbers, slow)},
    {"drops_total", "reason=\"gone\"", NULL, STATS_COUNTER,
     offsetof(struct numbers, gone)},
    {"clients", NULL, "Clients now.", STATS_GAUGE, offsetof(struct numbers, open)},
    {"latency_seconds", NULL, "Publish to socket.", STATS_HISTOGRAM_US,
     offsetof(struct numbers, latency)},
    {"other_seconds", "kind=\"x\"", "Other.", STATS_HISTOGRAM_US,
     offsetof(struct numbers, other)},
};

static void renders_prometheus_text(void **state)
{
    struct numbers n = {.in = 12, .slow = UINT64_MAX, .open = 3};
    struct buf out;

    (void)state;
    stats_observe(&n.latency, 0);
    stats_observe(&n.latency, 100);
    stats_observe(&n.latency, 101);
    stats_observe(&n.latency, 99999999);
    stats_observe(&n.latency, -5);
    stats_observe(&n.other, 2000);
    buf_init(&out);
    stats_render(rows, COUNT(rows), &n, &out);
    assert_non_null(strstr(out.data, "# HELP events_total Events read.\n"
                                     "# TYPE events_total counter\nevents_total 12\n"));
    assert_non_null(strstr(out.data, "# TYPE drops_total counter\n"
                                     "drops_total{reason=\"slow\"} 18446744073709551615\n"
                                     "drops_total{reason=\"gone\"} 0\n"));
    assert_non_null(strstr(out.data, "# TYPE clients gauge\nclients 3\n"));
    assert_non_null(strstr(out.data, "latency_seconds_bucket{le=\"0.0001\"} 3\n"
                                     "latency_seconds_bucket{le=\"0.00025\"} 4\n"));
    assert_non_null(strstr(out.data, "latency_seconds_bucket{le=\"10\"} 4\n"
                                     "latency_seconds_bucket{le=\"+Inf\"} 5\n"
                                     "latency_seconds_sum 100.000200\n"
                                     "latency_seconds_count 5\n"));
    assert_non_null(strstr(out.data,
                           "other_seconds_bucket{kind=\"x\",le=\"0.001\"} 0\n"
                           "other_seconds_bucket{kind=\"x\",le=\"0.0025\"} 1\n"));
    assert_non_null(strstr(out.data, "other_seconds_sum{kind=\"x\"} 0.002000\n"
                                     "other_seconds_count{kind=\"x\"} 1\n"));
    buf_fini(&out);
}

static void adds_what_others_counted(void **state)
{
    struct numbers sum = {.in = 12, .open = 3}, more = {.in = 5, .slow = 2, .open = 4};

    (void)state;
    stats_observe(&sum.latency, 100);
    stats_observe(&more.latency, 101);
    stats_observe(&more.latency, 99999999);
    stats_add(rows, COUNT(rows), &sum, &more);
    assert_int_equal(sum.in, 17);
    assert_int_equal(sum.slow, 2);
    assert_int_equal(sum.open, 7);
    assert_int_equal(sum.latency.count, 3);
    assert_int_equal(sum.latency.sum_us, 100000200);
    assert_int_equal(sum.latency.bucket[0], 1);
    assert_int_equal(sum.latency.bucket[1], 1);
    assert_int_equal(sum.latency.bucket[STATS_BUCKETS], 1);
    assert_int_equal(sum.other.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(renders_prometheus_text),
                                       cmocka_unit_test(adds_what_others_counted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
