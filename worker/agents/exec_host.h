/* exec_host: one process that serves many runs; docs/AGENTS.md has the protocol. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_HOST_H
#define THREADCAST_WORKER_AGENTS_EXEC_HOST_H

#include <stdbool.h>
#include <stddef.h>

struct agent;
struct exec_host;
struct exec_options;
struct list;
struct worker;

#define EXEC_PROTOCOL 1

/* Returns new, or NULL: it could not be started. Frees itself when its process has gone.
 */
struct exec_host *exec_host_new(struct worker *w, struct exec_options *o,
                                const char *agent_id);
struct exec_host *exec_host_of(struct list *node); /* of exec_options->hosts */
size_t exec_host_count(const struct exec_host *h); /* of its runs */
bool exec_host_is_retired(const struct exec_host *h);
void exec_host_give(struct exec_host *h, struct agent *a); /* there is a place */
/* The run wants nothing more of it: it is cancelled when it still goes on. */
void exec_host_release(struct agent *a);
void exec_host_say(struct agent *a, const char *type); /* pause, resume, cancel */
void exec_host_pour(struct agent *a); /* what was held while it was paused */
void exec_host_on_grace(void *arg);   /* an agent's: a cancel was not obeyed */

/* The options go: their processes finish what they have, and leave. */
void exec_hosts_leave(struct exec_options *o);
void exec_hosts_drain(struct worker *w); /* those without a run leave */

#endif
