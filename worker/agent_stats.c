/* agent_stats: one row a number; the rows are said for each agent in turn, because a
 * family has to stand in one place. */
#include "worker/agent_stats.h"

#include "worker/agent.h"

#include <stdio.h>
#include <stdlib.h>

#define AT(field) offsetof(struct agent_stats, field)
#define NAME(name) "threadcast_worker_agent_" name

/* `labels` goes behind agent="…". */
static const struct stats_row rows[] = {
    {NAME("runs_total"), ",outcome=\"done\"", "Runs that ended here, by agent.",
     STATS_COUNTER, AT(done)},
    {NAME("runs_total"), ",outcome=\"failed\"", NULL, STATS_COUNTER, AT(failed)},
    {NAME("runs_total"), ",outcome=\"cancelled\"", NULL, STATS_COUNTER, AT(cancelled)},
    {NAME("errors_total"), "", "Attempts that ended with an error.", STATS_COUNTER,
     AT(errors)},
    {NAME("retries_total"), "", "Attempts made again, and what agents asked again for.",
     STATS_COUNTER, AT(retries)},
    {NAME("pieces_total"), "", "Pieces of text.", STATS_COUNTER, AT(pieces)},
    {NAME("bytes_total"), "", "Bytes of text.", STATS_COUNTER, AT(bytes)},
    {NAME("input_tokens_total"), "", "Tokens read, as the agent says.", STATS_COUNTER,
     AT(input_tokens)},
    {NAME("output_tokens_total"), "", "Tokens written, as the agent says.", STATS_COUNTER,
     AT(output_tokens)},
    {NAME("first_token_seconds"), "", "From the agent's start to its first piece.",
     STATS_HISTOGRAM_US, AT(first_token)},
    {NAME("token_gap_seconds"), "", "From one piece to the next.", STATS_HISTOGRAM_US,
     AT(gap)},
    {NAME("writing_seconds"), "", "From the first piece of an attempt to its last.",
     STATS_HISTOGRAM_US, AT(writing)},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]), LABELS_SIZE = 128 };

struct agent_stats *agent_stats_new(void)
{
    struct agent_stats *s = calloc(1, sizeof(*s));

    if (s)
        s->refs = 1;
    return s;
}

struct agent_stats *agent_stats_ref(struct agent_stats *s)
{
    s->refs++;
    return s;
}

void agent_stats_unref(struct agent_stats *s)
{
    if (s && --s->refs == 0)
        free(s);
}

/* A name is a word: nothing in it needs escapes. */
static void render_row(const struct stats_row *row, const struct agent_def *def,
                       bool first, struct buf *out)
{
    char labels[LABELS_SIZE];
    struct stats_row one = *row;

    snprintf(labels, sizeof(labels), "agent=\"%s\"%s", def->name, row->labels);
    one.labels = labels;
    one.help = first ? row->help : NULL;
    stats_render(&one, 1, def->stats, out);
}

void agent_stats_render(const struct agent_def *const *defs, size_t count,
                        struct buf *out)
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < count; i++)
            render_row(&rows[r], defs[i], i == 0, out);
}
