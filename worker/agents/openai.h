/* openai: a model behind any server that speaks OpenAI's chat completions. docs/AGENTS.md
 * says what may be set and what every failure becomes. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_H
#define THREADCAST_WORKER_AGENTS_OPENAI_H

struct agent_kind;

extern const struct agent_kind agent_openai;

#endif
