/* openai_tools: the calls of tools in an answer, put together from their pieces. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_TOOLS_H
#define THREADCAST_WORKER_AGENTS_OPENAI_TOOLS_H

#include "common/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct openai_tool {
    int64_t index;
    struct buf id, name, arguments;
};

struct openai_tools {
    struct openai_tool *list; /* in the order in which they came */
    size_t count;
    bool too_many; /* more or larger than an answer may have */
    bool failed;   /* no memory */
};

void openai_tools_init(struct openai_tools *t);
void openai_tools_fini(struct openai_tools *t);
/* One element of `tool_calls`; false: it is none. */
bool openai_tools_add(struct openai_tools *t, const json_t *piece);
/* The older `function_call`: {name, arguments}. */
bool openai_tools_add_function(struct openai_tools *t, const json_t *function);
/* A delta's content: {"kind":"tool_call","toolCallId","name","arguments"}. */
void openai_tool_json(const struct openai_tool *tool, size_t place, struct buf *out);

#endif
