/* figures: how one attempt at a run goes: when its agent spoke, how much, and what it
 * says of the tokens it used. */
#ifndef THREADCAST_WORKER_FIGURES_H
#define THREADCAST_WORKER_FIGURES_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_stats;

struct figures {
    struct agent_stats *stats;                       /* borrowed; NULL: of no agent */
    int64_t started_us, first_us, last_us, ended_us; /* 0: not yet */
    int64_t max_gap_us;
    uint64_t pieces, bytes, retries;
    bool used; /* the agent has said so: */
    int64_t input_tokens, output_tokens, total_tokens;
};

void figures_start(struct figures *f, struct agent_stats *stats);
void figures_text(struct figures *f, size_t len); /* a piece of the answer has come */
void figures_retry(struct figures *f);            /* the agent asks its provider again */
/* `json`: an object with inputTokens, outputTokens and totalTokens, as far as they are
 * known. What was said later counts. */
void figures_usage(struct figures *f, const char *json, size_t len);
/* The attempt is over, counted once. Both of what follows are the same from here on. */
void figures_end(struct figures *f);
/* {"firstTokenMs", …}; nothing is appended when its agent was never started. */
void figures_json(const struct figures *f, struct buf *out);
/* {"inputTokens", …}; nothing when the agent did not say. */
void figures_usage_json(const struct figures *f, struct buf *out);

#endif
