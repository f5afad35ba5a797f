/* What an attempt used and how it went, from what its agent said. */
#include "worker/figures.h"

#include "unit.h"

#include "common/clock.h"
#include "worker/agent_stats.h"

#include <string.h>

static void say(struct figures *f, const char *json)
{
    figures_usage(f, json, strlen(json));
}

static void is_usage(const struct figures *f, const char *want)
{
    struct buf out;

    buf_init(&out);
    figures_usage_json(f, &out);
    assert_string_equal(out.data ? out.data : "", want);
    buf_fini(&out);
}

static void usage(void **state)
{
    static const struct {
        const char *said, *kept;
    } cases[] = {
        {"{\"inputTokens\":3,\"outputTokens\":4,\"totalTokens\":9}",
         "{\"inputTokens\":3,\"outputTokens\":4,\"totalTokens\":9}"},
        {"{\"kind\":\"usage\",\"inputTokens\":3,\"outputTokens\":4}",
         "{\"inputTokens\":3,\"outputTokens\":4,\"totalTokens\":7}"},
        {"{\"outputTokens\":4}",
         "{\"inputTokens\":0,\"outputTokens\":4,\"totalTokens\":4}"},
        {"{\"outputTokens\":2.9}",
         "{\"inputTokens\":0,\"outputTokens\":2,\"totalTokens\":2}"},
        {"{\"outputTokens\":-1}",
         "{\"inputTokens\":0,\"outputTokens\":0,\"totalTokens\":0}"},
        {"{\"inputTokens\":1e300}",
         "{\"inputTokens\":1000000000000000,\"outputTokens\":0,"
         "\"totalTokens\":1000000000000000}"},
        {"{\"inputTokens\":\"3\"}", ""},
        {"{\"inputTokens\":null}", ""},
        {"{}", ""},
        {"[]", ""},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct figures f = {0};
        say(&f, cases[i].said);
        is_usage(&f, cases[i].kept);
    }
}

static void last_word(void **state)
{
    struct figures f = {0};

    (void)state;
    say(&f, "{\"inputTokens\":3,\"outputTokens\":4}");
    say(&f, "{\"outputTokens\":6}");
    is_usage(&f, "{\"inputTokens\":3,\"outputTokens\":6,\"totalTokens\":9}");
    say(&f, "{}");
    is_usage(&f, "{\"inputTokens\":3,\"outputTokens\":6,\"totalTokens\":9}");
}

static void course(void **state)
{
    struct agent_stats *stats = agent_stats_new();
    struct figures f;
    struct buf out;

    (void)state;
    assert_non_null(stats);
    buf_init(&out);
    figures_start(&f, stats);
    for (size_t i = 1; i <= 3; i++)
        figures_text(&f, i);
    say(&f, "{\"inputTokens\":10,\"outputTokens\":20}");
    figures_retry(&f);
    /* as if it had taken its time */
    f.started_us -= 2500000;
    f.first_us -= 2000000;
    f.max_gap_us = 1900400;
    f.last_us = f.first_us + 2000000;
    figures_end(&f);
    f.ended_us = f.started_us + 2600000;
    figures_end(&f); /* counted once */
    figures_json(&f, &out);
    assert_non_null(strstr(out.data, "\"writingMs\":2000,\"maxGapMs\":1900,"
                                     "\"tokensPerSecond\":10.0,\"retries\":1,"
                                     "\"durationMs\":2600,"
                                     "\"pieces\":3,\"bytes\":6}"));
    assert_int_equal(stats->pieces, 3);
    assert_int_equal(stats->bytes, 6);
    assert_int_equal(stats->retries, 1);
    assert_int_equal(stats->input_tokens, 10);
    assert_int_equal(stats->output_tokens, 20);
    assert_int_equal(stats->first_token.count, 1);
    assert_int_equal(stats->gap.count, 2);
    assert_int_equal(stats->writing.count, 1);
    agent_stats_unref(stats);
    buf_fini(&out);
}

static void silent(void **state)
{
    struct agent_stats *stats = agent_stats_new();
    struct figures f = {0};
    struct buf out;

    (void)state;
    assert_non_null(stats);
    buf_init(&out);
    figures_text(&f, 5); /* of no agent: nothing to count */
    figures_end(&f);
    figures_json(&f, &out);
    assert_int_equal(out.len, 0);
    figures_start(&f, stats);
    figures_end(&f);
    f.ended_us = f.started_us;
    figures_json(&f, &out);
    assert_string_equal(out.data, "{\"durationMs\":0,\"pieces\":0,\"bytes\":0}");
    assert_int_equal(stats->writing.count, 0);
    agent_stats_unref(stats);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage),
        cmocka_unit_test(last_word),
        cmocka_unit_test(course),
        cmocka_unit_test(silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
