/* agent_stats: the numbers of one agent, as /metrics shows them with its name. Kept over
 * a reload, as long as the agent keeps its name; there are no more of them than agents.
 */
#ifndef THREADCAST_WORKER_AGENT_STATS_H
#define THREADCAST_WORKER_AGENT_STATS_H

#include "common/stats.h"

#include <stddef.h>
#include <stdint.h>

struct agent_stats {
    int refs;
    uint64_t done, failed, cancelled; /* runs */
    uint64_t errors, retries; /* attempts that failed; made again, asked for again */
    uint64_t pieces, bytes;   /* of text */
    uint64_t input_tokens, output_tokens;
    struct stats_histogram first_token; /* from its start */
    struct stats_histogram gap;         /* from one piece to the next */
    struct stats_histogram writing; /* from the first piece of an attempt to the last */
};

struct agent_stats *agent_stats_new(void); /* returns new, or NULL */
struct agent_stats *agent_stats_ref(struct agent_stats *s);
void agent_stats_unref(struct agent_stats *s); /* NULL is fine */

/* Appends Prometheus text: each family once, with a line for each of the agents. */
struct agent_def;
void agent_stats_render(const struct agent_def *const *defs, size_t count,
                        struct buf *out);

#endif
