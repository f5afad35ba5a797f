/* exec_death: the kernel tells a status or a signal, not which limit was behind it. CPU
 * seconds are known exactly; memory is judged by the most that was resident, because a
 * program whose allocation fails ends in any way it likes. */
#include "worker/agents/exec_death.h"

#include "worker/agents/exec_child.h"
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127, SHELL_SIGNAL = 128, NEAR_PERCENT = 75 };

static int64_t cpu_s(const struct rusage *used)
{
    return used->ru_utime.tv_sec + used->ru_stime.tv_sec +
           (used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1000000;
}

static bool was_cpu(const struct exec_child *c, int signal_number,
                    const struct rusage *used)
{
    return c->cpu_limit_s > 0 &&
           (signal_number == SIGXCPU ||
            (signal_number == SIGKILL && !c->termed && cpu_s(used) >= c->cpu_limit_s));
}

/* ru_maxrss is in KiB. */
static bool was_memory(const struct exec_child *c, const struct rusage *used)
{
    return c->memory_limit_mb > 0 &&
           used->ru_maxrss / 1024 * 100 >= c->memory_limit_mb * NEAR_PERCENT;
}

static void by_signal(const struct exec_child *c, int number, struct exec_death *d)
{
    d->code = "agent_signal";
    if (number == SIGKILL && !c->termed) {
        d->code = "agent_killed";
        snprintf(d->message, sizeof(d->message),
                 "The agent was killed; perhaps the machine has no memory left.");
    } else {
        snprintf(d->message, sizeof(d->message),
                 "The agent was ended by signal %d (SIG%s).", number,
                 sigabbrev_np(number));
    }
}

static void by_status(int status, struct exec_death *d)
{
    d->code = "agent_exit";
    if (status == NOT_FOUND) {
        d->code = "agent_not_found";
        snprintf(d->message, sizeof(d->message), "The agent's program is not there.");
    } else if (status == NOT_EXECUTABLE) {
        d->code = "agent_not_executable";
        snprintf(d->message, sizeof(d->message),
                 "The agent's program cannot be executed.");
    } else {
        snprintf(d->message, sizeof(d->message), "The agent ended with status %d.",
                 status);
    }
}

/* A shell that waited tells its child's signal as 128 more. 0: none. */
static int signal_of(int status)
{
    int number =
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) - SHELL_SIGNAL;

    return number > 0 && sigabbrev_np(number) ? number : 0;
}

void exec_death_of(struct exec_child *c, int status, const struct rusage *used,
                   struct exec_death *d)
{
    int number = signal_of(status);

    *d = (struct exec_death){.well = status == 0, .code = "agent_exit"};
    if (d->well)
        return;
    if (was_cpu(c, number, used)) {
        c->w->stats.agent_limit_cpu++;
        d->code = "agent_cpu_limit";
        snprintf(d->message, sizeof(d->message),
                 "The agent used the %lld s of CPU that it may.",
                 (long long)c->cpu_limit_s);
    } else if (!c->termed && was_memory(c, used)) {
        c->w->stats.agent_limit_memory++;
        d->code = "agent_memory_limit";
        snprintf(d->message, sizeof(d->message),
                 "The agent ended near the %lld MiB of memory that it may have.",
                 (long long)c->memory_limit_mb);
    } else if (number > 0) {
        by_signal(c, number, d);
    } else {
        by_status(WEXITSTATUS(status), d);
    }
}
