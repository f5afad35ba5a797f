/* openai_chunk: the differences between providers, in one place. Members of the wrong
 * type are as if they were not there. */
#include "worker/agents/openai_chunk.h"

#include "common/names.h"
#include "common/utf8.h"
#include "worker/agents/openai_answer.h"
#include "worker/agents/openai_json.h"

#include <stdio.h>
#include <string.h>

/* --- text ------------------------------------------------------------------------- */

typedef void say_fn(const char *text, size_t len, void *arg);

/* In pieces that fit into an event. */
static void say(struct openai_answer *a, say_fn *fn, const json_t *text)
{
    const char *s = json_string_value(text);
    size_t len = json_string_length(text);

    while (len > 0) {
        size_t n = len > OPENAI_PIECE_MAX ? utf8_whole(s, OPENAI_PIECE_MAX) : len;
        fn(s, n, a->arg);
        s += n;
        len -= n;
    }
}

/* A string, or a list of parts: {type, text}. */
static void say_content(struct openai_answer *a, const json_t *content)
{
    size_t i;
    const json_t *part;

    say(a, a->voice->on_text, content);
    json_array_foreach((json_t *)content, i, part)
        say(a, a->voice->on_text, json_object_get(part, "text"));
}

static void say_reasoning(struct openai_answer *a, const json_t *part)
{
    const json_t *text = json_object_get(part, "reasoning_content");

    if (json_string_length(text) == 0) /* some say both, the same */
        text = json_object_get(part, "reasoning");
    say(a, a->voice->on_reasoning, text);
}

/* --- tools, usage, ends ----------------------------------------------------------- */

static void take_tools(struct openai_answer *a, const json_t *part)
{
    const json_t *calls = json_object_get(part, "tool_calls");
    size_t i;
    const json_t *call;

    json_array_foreach((json_t *)calls, i, call) openai_tools_add(&a->tools, call);
    openai_tools_add_function(&a->tools, json_object_get(part, "function_call"));
    if (a->tools.failed)
        openai_fail(&a->failure, "out_of_memory", true, "The worker has no memory left.");
    else if (a->tools.too_many)
        openai_fail(&a->failure, "provider_limit", false,
                    "The model provider called more tools than an answer may.");
}

static void take_number(int64_t *field, const json_t *value)
{
    int64_t n = openai_number(value);

    if (n >= 0)
        *field = n;
}

/* What a later one says replaces what an earlier one said. */
static void take_usage(struct openai_usage *u, const json_t *usage)
{
    const json_t *input = json_object_get(usage, "prompt_tokens_details");
    const json_t *output = json_object_get(usage, "completion_tokens_details");

    take_number(&u->input, json_object_get(usage, "prompt_tokens"));
    take_number(&u->output, json_object_get(usage, "completion_tokens"));
    take_number(&u->total, json_object_get(usage, "total_tokens"));
    take_number(&u->cached, json_object_get(input, "cached_tokens"));
    take_number(&u->reasoning, json_object_get(output, "reasoning_tokens"));
}

/* In the words of `done`. */
static const char *finish_word(const char *reason, size_t len)
{
    if (strcmp(reason, "tool_calls") == 0 || strcmp(reason, "function_call") == 0)
        return "tool";
    if (strcmp(reason, "max_tokens") == 0)
        return "length";
    return word_valid(reason, len) ? reason : "other";
}

static void take_finish(struct openai_answer *a, const json_t *reason)
{
    const char *text = json_string_value(reason);
    size_t len = json_string_length(reason);

    if (len == 0 || a->finish[0])
        return;
    if (strcmp(text, "error") == 0 || strcmp(text, "abort") == 0) {
        openai_fail(&a->failure, "provider_error", true,
                    "The model provider gave this answer up.");
        return;
    }
    snprintf(a->finish, sizeof(a->finish), "%s", finish_word(text, len));
    if (a->refused && strcmp(a->finish, "stop") == 0)
        snprintf(a->finish, sizeof(a->finish), "refusal");
}

/* --- all of it -------------------------------------------------------------------- */

static bool is_error(const json_t *error)
{
    return json_is_object(error) || json_string_length(error) > 0;
}

static void take_part(struct openai_answer *a, const json_t *part)
{
    const json_t *refusal = json_object_get(part, "refusal");

    say_reasoning(a, part);
    say_content(a, json_object_get(part, "content"));
    a->refused |= json_string_length(refusal) > 0;
    say(a, a->voice->on_text, refusal);
    take_tools(a, part);
}

/* The first answer: others than it were not asked for. */
static void take_choice(struct openai_answer *a, const json_t *choice)
{
    const json_t *error = json_object_get(choice, "error");

    if (openai_number(json_object_get(choice, "index")) > 0)
        return;
    if (a->finish[0]) {
        a->after_end++;
        return;
    }
    take_part(a, json_object_get(choice, "delta"));
    take_part(a, json_object_get(choice, "message"));
    if (is_error(error))
        openai_fail_value(&a->failure, error);
    take_finish(a, json_object_get(choice, "finish_reason"));
}

void openai_chunk_read(struct openai_answer *a, const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    const json_t *object = json_object_get(root, "object");
    size_t i;
    const json_t *choice;

    if (is_error(error)) {
        openai_fail_value(&a->failure, error);
        return;
    }
    if (json_is_string(object) && strcmp(json_string_value(object), "error") == 0) {
        openai_fail_value(&a->failure, root);
        return;
    }
    json_array_foreach(json_object_get(root, "choices"), i, choice)
        take_choice(a, choice);
    take_usage(&a->usage, json_object_get(root, "usage"));
}
