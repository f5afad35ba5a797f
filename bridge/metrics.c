/* metrics: sums what can be summed; of states, all must be good; of delays, the worst.
 * Families of their own tell the reactors apart. */
#include "bridge/metrics.h"

#include "bridge/bridge.h"
#include "bridge/feed.h"
#include "bridge/keyring.h"
#include "bridge/publisher.h"
#include "bridge/reactors.h"
#include "bridge/reader.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "common/redis.h"
#include "threadcast_version.h"

#include <stdio.h>
#include <unistd.h>

void report_fill(struct report *report, struct bridge *b)
{
    if (b->keyring)
        keyring_note(b->keyring);
    *report = (struct report){
        .stats = b->stats,
        .feed_up = b->feed && feed_ready(b->feed),
        .read_up = b->reader && reader_ready(b->reader),
        .publish_up = b->publisher && publisher_ready(b->publisher),
        .pg_up = b->pg && pg_pool_ready(b->pg),
        .draining = b->draining,
        .lag_us = loop_lag_us(b->loop),
        .max_lag_us = loop_max_lag_us(b->loop),
    };
    if (!report->read_up)
        return;
    report->commands_waiting = redis_queued(reader_redis(b->reader));
    report->reconnects = redis_reconnects(reader_redis(b->reader));
}

static void report_add(struct report *sum, const struct report *more)
{
    bridge_stats_add(&sum->stats, &more->stats);
    sum->feed_up &= more->feed_up;
    sum->read_up &= more->read_up;
    sum->publish_up &= more->publish_up;
    sum->pg_up &= more->pg_up;
    sum->draining |= more->draining;
    sum->commands_waiting += more->commands_waiting;
    sum->reconnects += more->reconnects;
    if (more->lag_us > sum->lag_us)
        sum->lag_us = more->lag_us;
    if (more->max_lag_us > sum->max_lag_us)
        sum->max_lag_us = more->max_lag_us;
}

static void head(struct buf *out, const char *name, const char *help)
{
    buf_printf(out, "# HELP threadcast_bridge_%s %s\n# TYPE threadcast_bridge_%s gauge\n",
               name, help, name);
}

static void gauge(struct buf *out, const char *name, const char *labels, const char *help,
                  double value)
{
    if (help)
        head(out, name, help);
    buf_printf(out, "threadcast_bridge_%s%s %.9g\n", name, labels, value);
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void render_upstreams(const struct report *sum, bool with_pg, struct buf *out)
{
    gauge(out, "redis_up", "{connection=\"subscribe\"}",
          "Are the connections to Redis ready, in every reactor?", sum->feed_up);
    gauge(out, "redis_up", "{connection=\"read\"}", NULL, sum->read_up);
    gauge(out, "redis_up", "{connection=\"publish\"}", NULL, sum->publish_up);
    gauge(out, "redis_commands_waiting", "{connection=\"read\"}",
          "Commands without a reply yet.", (double)sum->commands_waiting);
    gauge(out, "redis_reconnects", "{connection=\"read\"}", "Reconnects since the start.",
          (double)sum->reconnects);
    if (with_pg)
        gauge(out, "pg_up", "", "Is a connection to Postgres ready, in every reactor?",
              sum->pg_up);
}

static void render_process(const struct reactors *rs, const struct report *sum,
                           struct buf *out)
{
    gauge(out, "loop_lag_seconds", "", "How late a loop was last, the latest of them.",
          (double)sum->lag_us / 1e6);
    gauge(out, "loop_lag_max_seconds", "", "The latest since this was asked last.",
          (double)sum->max_lag_us / 1e6);
    gauge(out, "log_lines_dropped", "", "Log lines that stderr would not take.",
          (double)log_dropped());
    gauge(out, "resident_bytes", "", "Memory of the process.", resident_bytes());
    gauge(out, "draining", "", "Is it going away?", sum->draining);
    gauge(out, "reactors", "", "Event loops.", (double)rs->count);
    head(out, "info", "Version and instance.");
    buf_printf(out, "threadcast_bridge_info{version=\"%s\",instance=\"%s\"} 1\n",
               THREADCAST_VERSION, rs->instance);
}

static void render_each(const struct reactors *rs, const struct report *reports,
                        struct buf *out)
{
    char label[48];

    for (size_t i = 0; i < rs->count; i++) {
        snprintf(label, sizeof(label), "{reactor=\"%zu\"}", i);
        gauge(out, "reactor_streams", label, i ? NULL : "Streams open, by reactor.",
              (double)reports[i].stats.clients);
    }
    for (size_t i = 0; i < rs->count; i++) {
        snprintf(label, sizeof(label), "{reactor=\"%zu\"}", i);
        gauge(out, "reactor_silence_seconds", label,
              i ? NULL : "How long ago a loop's heartbeat was (ten times a second).",
              (double)loop_silence_ms(rs->all[i]->loop) / 1e3);
    }
}

void metrics_render(const struct reactors *rs, const struct report *reports,
                    struct buf *out)
{
    struct report sum = reports[0];

    for (size_t i = 1; i < rs->count; i++)
        report_add(&sum, &reports[i]);
    bridge_stats_render(&sum.stats, out);
    render_upstreams(&sum, rs->conf->database_url != NULL, out);
    render_process(rs, &sum, out);
    render_each(rs, reports, out);
}
