/* exec_death: how a program ended, as a code that stays and a sentence to show. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_DEATH_H
#define THREADCAST_WORKER_AGENTS_EXEC_DEATH_H

struct exec_child;
struct exec_death;
struct rusage;

/* `status` as wait4 has it. Counts the limits that it met. */
void exec_death_of(struct exec_child *c, int status, const struct rusage *used,
                   struct exec_death *ret_death);

#endif
