/* exec_spawn: starts a command in a process group of its own that inherits nothing: no
 * descriptor but its three pipes, no variable but those listed, no blocked signal. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_SPAWN_H
#define THREADCAST_WORKER_AGENTS_EXEC_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct agent_input;

struct exec_process {
    pid_t pid;
    int pidfd;        /* readable when it has gone */
    int in, out, err; /* ours, not blocking; -1: closed */
};

/* false: errno says why; nothing is left behind. */
bool exec_spawn(const char *command, const struct agent_input *in,
                struct exec_process *ret_process);

#endif
