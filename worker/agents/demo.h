/* demo: the built-in agent. No model: it says so, and talks about the prompt. The same
 * prompt gives the same answer, in the same pieces. */
#ifndef THREADCAST_WORKER_AGENTS_DEMO_H
#define THREADCAST_WORKER_AGENTS_DEMO_H

struct agent_kind;
extern const struct agent_kind agent_demo;

#endif
