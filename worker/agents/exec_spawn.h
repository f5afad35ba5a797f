/* exec_spawn: starts a command in a process group of its own that inherits nothing: no
 * descriptor but its three pipes, no variable but those listed, no blocked signal; with
 * the limits of its options, which it cannot raise. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_SPAWN_H
#define THREADCAST_WORKER_AGENTS_EXEC_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct agent_input;
struct exec_options;

struct exec_process {
    pid_t pid;
    int pidfd;        /* readable when it has gone */
    int in, out, err; /* ours, not blocking; -1: closed */
};

/* `mark` is THREADCAST_PROCESS in its environment and in that of all it starts; `in`:
 * the run that it is for, NULL: for many. false: errno says why; nothing is left. */
bool exec_spawn(const struct exec_options *o, const char *mark,
                const struct agent_input *in, struct exec_process *ret_process);
/* One that serves many runs may use `more_s` CPU seconds from here on. */
void exec_spawn_grant_cpu(pid_t pid, int64_t more_s);

#endif
