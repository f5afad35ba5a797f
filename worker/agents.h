/* agents: which agents there are. A message names one of them and can never say what it
 * does: commands come from the operator's options alone. */
#ifndef THREADCAST_WORKER_AGENTS_H
#define THREADCAST_WORKER_AGENTS_H

#include "common/buf.h"

#include <stdbool.h>

struct agent_kind;
struct agents;

struct agent_def {
    char *name; /* what events carry as agentId */
    const struct agent_kind *kind;
    char *command; /* exec: for /bin/sh -c; else NULL */
};

/* Are --agent and --agents well formed? Appends the reason when not. */
bool agents_check(const char *agent, const char *agents, struct buf *err);
struct agents *agents_new(const char *agent,
                          const char *agents); /* returns new or NULL */
void agents_free(struct agents *a);
/* "default" is --agent. NULL: there is none of that name. Borrows. */
const struct agent_def *agents_find(const struct agents *a, const char *name);

#endif
