/* figures: a few clock readings. It must cost nothing that a piece of text would notice.
 */
#include "worker/figures.h"

#include "common/clock.h"
#include "common/json.h"
#include "worker/agent_stats.h"

#define TOKENS_MAX 1000000000000000 /* what can be added up; as in db/0005_agents.sql */

void figures_start(struct figures *f, struct agent_stats *stats)
{
    *f = (struct figures){.stats = stats, .started_us = clock_us()};
}

void figures_text(struct figures *f, size_t len)
{
    int64_t now = clock_us();

    if (f->started_us == 0)
        return;
    f->pieces++;
    f->bytes += len;
    if (f->first_us == 0) {
        f->first_us = now;
        stats_observe(&f->stats->first_token, now - f->started_us);
    } else {
        int64_t gap = now - f->last_us;
        f->max_gap_us = gap > f->max_gap_us ? gap : f->max_gap_us;
        stats_observe(&f->stats->gap, gap);
    }
    f->last_us = now;
}

void figures_retry(struct figures *f)
{
    if (f->started_us == 0)
        return;
    f->retries++;
    f->stats->retries++;
}

/* false: it was not said. */
static bool take_count(const json_t *usage, const char *name, int64_t *ret_n)
{
    const json_t *value = json_object_get(usage, name);
    double n = json_number_value(value);

    if (!json_is_number(value))
        return false;
    *ret_n = n < 0 ? 0 : n > TOKENS_MAX ? TOKENS_MAX : (int64_t)n;
    return true;
}

void figures_usage(struct figures *f, const char *json, size_t len)
{
    json_t *usage = json_read(json, len, 0, NULL);
    bool in = take_count(usage, "inputTokens", &f->input_tokens);
    bool out = take_count(usage, "outputTokens", &f->output_tokens);

    if (!take_count(usage, "totalTokens", &f->total_tokens))
        f->total_tokens = f->input_tokens + f->output_tokens;
    f->used |= in || out;
    json_decref(usage);
}

void figures_end(struct figures *f)
{
    struct agent_stats *s = f->stats;

    if (f->started_us == 0 || f->ended_us > 0)
        return;
    f->ended_us = clock_us();
    s->pieces += f->pieces;
    s->bytes += f->bytes;
    s->input_tokens += (uint64_t)f->input_tokens;
    s->output_tokens += (uint64_t)f->output_tokens;
    if (f->pieces > 1)
        stats_observe(&s->writing, f->last_us - f->first_us);
}

static long long ms(int64_t us)
{
    return (us + 500) / 1000;
}

void figures_json(const struct figures *f, struct buf *out)
{
    int64_t writing_us = f->last_us - f->first_us;

    if (f->started_us == 0)
        return;
    buf_char(out, '{');
    if (f->pieces > 0)
        buf_printf(out, "\"firstTokenMs\":%lld,\"writingMs\":%lld,\"maxGapMs\":%lld,",
                   ms(f->first_us - f->started_us), ms(writing_us), ms(f->max_gap_us));
    if (f->used && f->output_tokens > 0 && ms(writing_us) > 0)
        buf_printf(out, "\"tokensPerSecond\":%.1f,",
                   (double)f->output_tokens * 1e6 / (double)writing_us);
    if (f->retries > 0)
        buf_printf(out, "\"retries\":%llu,", (unsigned long long)f->retries);
    buf_printf(out, "\"durationMs\":%lld,\"pieces\":%llu,\"bytes\":%llu}",
               ms(f->ended_us - f->started_us), (unsigned long long)f->pieces,
               (unsigned long long)f->bytes);
}

void figures_usage_json(const struct figures *f, struct buf *out)
{
    if (f->used)
        buf_printf(out,
                   "{\"inputTokens\":%lld,\"outputTokens\":%lld,\"totalTokens\":%lld}",
                   (long long)f->input_tokens, (long long)f->output_tokens,
                   (long long)f->total_tokens);
}
