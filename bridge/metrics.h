/* metrics: what every reactor says of itself, and all of it together as Prometheus text.
 */
#ifndef THREADCAST_BRIDGE_METRICS_H
#define THREADCAST_BRIDGE_METRICS_H

#include "bridge/stats.h"

#include <stdbool.h>

struct bridge;
struct reactors;

/* One reactor at one moment. */
struct report {
    struct bridge_stats stats;
    bool feed_up, read_up, publish_up, pg_up, draining;
    uint64_t commands_waiting, reconnects; /* of the reading connection */
    int64_t lag_us, max_lag_us;            /* the latter since it was asked last */
};

/* In the reactor's own thread. */
void report_fill(struct report *report, struct bridge *b);
/* `reports`: one for each reactor. */
void metrics_render(const struct reactors *rs, const struct report *reports,
                    struct buf *out);

#endif
