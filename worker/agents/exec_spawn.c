/* exec_spawn: posix_spawn, because it neither copies the worker's memory nor runs our
 * code between fork and exec. It must never let a secret of the environment through:
 * what may pass is listed. */
#include "worker/agents/exec_spawn.h"

#include "common/trace.h"
#include "worker/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const allowed[] = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"};
enum { ALLOWED = sizeof(allowed) / sizeof(allowed[0]), OWN = 5 };

struct environment {
    char *vars[ALLOWED + OWN + 1];
    size_t count;
};

static bool add(struct environment *e, const char *name, const char *value)
{
    if (asprintf(&e->vars[e->count], "%s=%s", name, value) < 0) {
        e->vars[e->count] = NULL;
        return false;
    }
    e->count++;
    return true;
}

static void environment_fini(struct environment *e)
{
    while (e->count > 0)
        free(e->vars[--e->count]);
}

static bool environment_fill(struct environment *e, const struct agent_input *in)
{
    char number[24];

    for (size_t i = 0; i < ALLOWED; i++) {
        const char *value = getenv(allowed[i]);
        if (value && !add(e, allowed[i], value))
            return false;
    }
    snprintf(number, sizeof(number), "%lld", (long long)in->attempt);
    return add(e, "THREADCAST_RUN_ID", in->run_id) &&
           add(e, "THREADCAST_THREAD_ID", in->thread_id) &&
           add(e, "THREADCAST_ATTEMPT", number) &&
           (!in->trace->request_id[0] ||
            add(e, "THREADCAST_REQUEST_ID", in->trace->request_id)) &&
           (!in->trace->parent[0] || add(e, "TRACEPARENT", in->trace->parent));
}

struct pipes {
    int in[2], out[2], err[2];
};

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void pipes_close(struct pipes *p)
{
    for (int i = 0; i < 2; i++) {
        shut(&p->in[i]);
        shut(&p->out[i]);
        shut(&p->err[i]);
    }
}

static bool ours(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static bool pipes_open(struct pipes *p)
{
    *p = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
    return pipe2(p->in, O_CLOEXEC) == 0 && pipe2(p->out, O_CLOEXEC) == 0 &&
           pipe2(p->err, O_CLOEXEC) == 0 && ours(p->in[1]) && ours(p->out[0]) &&
           ours(p->err[0]);
}

static int prepare_files(posix_spawn_file_actions_t *fa, const struct pipes *p)
{
    int e = posix_spawn_file_actions_adddup2(fa, p->in[0], 0);

    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, p->out[1], 1);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, p->err[1], 2);
    return e ? e : posix_spawn_file_actions_addclosefrom_np(fa, 3);
}

static int prepare_signals(posix_spawnattr_t *attr)
{
    sigset_t all, none;
    int e;

    sigfillset(&all);
    sigemptyset(&none);
    e = posix_spawnattr_setpgroup(attr, 0);
    if (e == 0)
        e = posix_spawnattr_setsigdefault(attr, &all);
    if (e == 0)
        e = posix_spawnattr_setsigmask(attr, &none);
    return e ? e
             : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP |
                                                  POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETSIGMASK);
}

static int spawn(const char *command, char *const *vars, const struct pipes *p,
                 pid_t *ret_pid)
{
    char *copy = strdup(command);
    char sh[] = "sh", dash_c[] = "-c";
    char *argv[] = {sh, dash_c, copy, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    int e = copy ? 0 : ENOMEM;

    if (e == 0)
        e = posix_spawn_file_actions_init(&fa);
    if (e != 0) {
        free(copy);
        return e;
    }
    e = posix_spawnattr_init(&attr);
    if (e == 0) {
        e = prepare_files(&fa, p);
        if (e == 0)
            e = prepare_signals(&attr);
        if (e == 0)
            e = posix_spawn(ret_pid, "/bin/sh", &fa, &attr, argv, vars);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&fa);
    free(copy);
    return e;
}

bool exec_spawn(const char *command, const struct agent_input *in,
                struct exec_process *ret_process)
{
    struct environment env = {.count = 0};
    struct pipes p;
    struct exec_process made = {.pidfd = -1};
    int e = 0;

    if (!pipes_open(&p))
        e = errno;
    else if (!environment_fill(&env, in))
        e = ENOMEM;
    if (e == 0)
        e = spawn(command, env.vars, &p, &made.pid);
    environment_fini(&env);
    if (e == 0) {
        made.pidfd = (int)syscall(SYS_pidfd_open, made.pid, 0);
        if (made.pidfd < 0) {
            e = errno;
            kill(-made.pid, SIGKILL);
        }
    }
    if (e != 0) {
        pipes_close(&p);
        errno = e;
        return false;
    }
    made.in = p.in[1];
    made.out = p.out[0];
    made.err = p.err[0];
    p.in[1] = p.out[0] = p.err[0] = -1;
    pipes_close(&p);
    *ret_process = made;
    return true;
}
