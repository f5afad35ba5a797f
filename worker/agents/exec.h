/* exec: any program as an agent. It gets one JSON object on stdin and says one JSON event
 * a line on stdout; docs/AGENTS.md describes both. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_H
#define THREADCAST_WORKER_AGENTS_EXEC_H

struct agent_kind;
struct worker;

extern const struct agent_kind agent_exec;
/* No new runs come: processes that wait for some are told to end. */
void exec_drain(struct worker *w);
/* The worker leaves: every process group that is still there gets SIGKILL. */
void exec_kill_all(struct worker *w);

#endif
