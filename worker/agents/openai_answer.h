/* openai_answer: what a model provider answers to one question, in whatever form, becomes
 * what an agent says. Pure: bytes in, words out, wherever the bytes are split.
 *
 *     openai_answer_head ─▶ feed, feed … ─▶ end          voice: text, reasoning
 *                                     state is DONE ─▶ openai_answer_settle: tool calls,
 * usage
 */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_ANSWER_H
#define THREADCAST_WORKER_AGENTS_OPENAI_ANSWER_H

#include "worker/agents/openai_failure.h"
#include "worker/agents/openai_sse.h"
#include "worker/agents/openai_tools.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who hears it. Text is valid UTF-8, of at most OPENAI_PIECE_MAX bytes. */
enum { OPENAI_PIECE_MAX = 32768 };
struct openai_voice {
    void (*on_text)(const char *text, size_t len, void *arg);
    void (*on_reasoning)(const char *text, size_t len, void *arg);
    /* a delta's content */
    void (*on_tool_call)(const char *json, size_t len, void *arg);
    void (*on_usage)(const char *json, size_t len, void *arg);
};

enum openai_form {
    OPENAI_UNKNOWN, /* nothing of the body was seen */
    OPENAI_STREAM,
    OPENAI_WHOLE, /* one JSON object: this provider does not stream */
    OPENAI_ERROR, /* the body of an answer that is not 200 */
};

enum openai_state {
    OPENAI_GOING,
    OPENAI_FINISHED, /* the finish reason is there; usage and `[DONE]` may follow */
    OPENAI_DONE,     /* all of it is there; what follows is dropped */
    OPENAI_FAILED,   /* `failure` says why; what follows is dropped */
};

struct openai_usage {
    int64_t input, output, total, cached, reasoning; /* tokens; -1: not said */
};

struct openai_answer {
    const struct openai_voice *voice; /* borrowed */
    void *arg;
    int64_t max_bytes, max_events;
    int64_t bytes, events; /* of the body; pieces of a stream */
    int64_t after_end;     /* pieces that were dropped */
    int status;
    bool is_page; /* the headers say text/html */
    enum openai_form form;
    enum openai_state state;
    struct openai_sse sse;
    struct buf body; /* of a form that is read at its end */
    struct openai_tools tools;
    struct openai_usage usage;
    char finish[65]; /* finishReason, "" as long as there is none */
    bool refused;    /* the text is a refusal */
    struct openai_failure failure;
};

void openai_answer_init(struct openai_answer *a, int64_t max_bytes, int64_t max_events,
                        const struct openai_voice *voice, void *arg);
void openai_answer_fini(struct openai_answer *a);
/* `content_type` may be NULL. */
void openai_answer_head(struct openai_answer *a, int status, const char *content_type);
void openai_answer_feed(struct openai_answer *a, const char *bytes, size_t len);
/* Nothing more comes; `whole`: the answer ended as HTTP ends one. Then it is DONE or
 * FAILED. */
void openai_answer_end(struct openai_answer *a, bool whole);
/* Once, when it is DONE: says the tool calls and the usage, which close an answer. */
void openai_answer_settle(struct openai_answer *a);
/* {"inputTokens":…}, or nothing when the provider did not say. */
void openai_usage_json(const struct openai_usage *u, struct buf *out);

#endif
