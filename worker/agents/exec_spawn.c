/* exec_spawn: what runs between clone and exec shares the worker's memory (CLONE_VM, as
 * in posix_spawn, which knows no limits) and calls nothing but the kernel: what libc or a
 * sanitizer remember of signals and descriptors are those of the worker.
 *
 *   worker ──clone──▶ child: group, signals, pipes, descriptors, limits, exec
 *     └── stands still until that is done: errno comes back in `struct birth`
 *
 * It must never let a secret of the environment through: what may pass is listed. */
#include "worker/agents/exec_spawn.h"

#include "common/trace.h"
#include "worker/agent.h"
#include "worker/agents/exec_options.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const allowed[] = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"};
enum {
    ALLOWED = sizeof(allowed) / sizeof(allowed[0]),
    LOCALE_MAX = 16,
    OWN = 6,
    STACK_SIZE = 64 * 1024,
    EXIT_NO_EXEC = 127,
    CPU_DEPTH = 3,
};

/* ThreadSanitizer takes every clone for a fork, and has no other. There a program that
 * cannot be executed ends with 127 and is not noticed before. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BIRTH_FLAGS CLONE_VFORK
#endif
#endif
#ifndef BIRTH_FLAGS
#define BIRTH_FLAGS (CLONE_VM | CLONE_VFORK)
#endif

/* --- environment ------------------------------------------------------------------ */

struct environment {
    char *vars[ALLOWED + LOCALE_MAX + OWN + EXEC_ENV_MAX + 1];
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

static bool add_allowed(struct environment *e)
{
    size_t locales = 0;

    for (size_t i = 0; i < ALLOWED; i++) {
        const char *value = getenv(allowed[i]);
        if (value && !add(e, allowed[i], value))
            return false;
    }
    for (char **var = environ; *var && locales < LOCALE_MAX; var++) {
        if (strncmp(*var, "LC_", 3) != 0)
            continue;
        locales++;
        e->vars[e->count] = strdup(*var);
        if (!e->vars[e->count])
            return false;
        e->count++;
    }
    return true;
}

static void drop(struct environment *e, const char *name, size_t len)
{
    for (size_t i = 0; i < e->count; i++) {
        if (strncmp(e->vars[i], name, len) == 0 && e->vars[i][len] == '=') {
            free(e->vars[i]);
            e->vars[i] = e->vars[--e->count];
            e->vars[e->count] = NULL;
            return;
        }
    }
}

/* The operator's come over the allowed ones. */
static bool add_given(struct environment *e, const struct exec_options *o)
{
    for (char *const *var = o->env; *var; var++) {
        const char *equals = strchr(*var, '=');
        const char *value = equals ? equals + 1 : getenv(*var);
        size_t len = equals ? (size_t)(equals - *var) : strlen(*var);
        char name[129];
        snprintf(name, sizeof(name), "%.*s", (int)len, *var);
        drop(e, name, strlen(name));
        if (value && !add(e, name, value))
            return false;
    }
    return true;
}

static bool add_run(struct environment *e, const struct agent_input *in)
{
    char number[24];

    snprintf(number, sizeof(number), "%lld", (long long)in->attempt);
    return add(e, "THREADCAST_RUN_ID", in->run_id) &&
           add(e, "THREADCAST_THREAD_ID", in->thread_id) &&
           add(e, "THREADCAST_ATTEMPT", number) &&
           (!in->trace->request_id[0] ||
            add(e, "THREADCAST_REQUEST_ID", in->trace->request_id)) &&
           (!in->trace->parent[0] || add(e, "TRACEPARENT", in->trace->parent));
}

static bool environment_fill(struct environment *e, const struct exec_options *o,
                             const char *mark, const struct agent_input *in)
{
    return add_allowed(e) && add_given(e, o) && add(e, "THREADCAST_PROCESS", mark) &&
           (!in || add_run(e, in));
}

/* --- pipes ------------------------------------------------------------------------ */

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

/* --- the child -------------------------------------------------------------------- */

struct birth {
    const struct exec_options *o;
    char *const *vars;
    int in, out, err;
    pid_t worker;
    sigset_t none;
    char *argv[4];
    int failed; /* errno of the child */
};

/* The hard limit as well, so that it cannot be raised again; of a process that serves
 * many runs the worker itself raises the CPU seconds from run to run. */
static bool limit(int what, int64_t value, int64_t hard)
{
    struct rlimit l = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)hard};
    struct rlimit now;

    if (value <= 0)
        return true;
    if (getrlimit((__rlimit_resource_t)what, &now) != 0)
        return false;
    if (hard < 0 || l.rlim_max > now.rlim_max)
        l.rlim_max = now.rlim_max;
    if (l.rlim_cur > l.rlim_max)
        l.rlim_cur = l.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &l) == 0;
}

static bool limits(const struct exec_options *o)
{
    struct rlimit no_core = {0, 0};
    int64_t cpu = o->cpu_limit_s, memory = o->memory_limit_mb << 20;

    /* a dump would hold what its user said */
    return setrlimit(RLIMIT_CORE, &no_core) == 0 &&
           limit(RLIMIT_CPU, cpu, o->persistent ? -1 : cpu + 1) &&
           limit(RLIMIT_AS, memory, memory) &&
           limit(RLIMIT_NOFILE, o->files_limit, o->files_limit);
}

static bool take_pipes(const struct birth *b)
{
    return syscall(SYS_dup3, b->in, 0, 0) == 0 && syscall(SYS_dup3, b->out, 1, 0) == 1 &&
           syscall(SYS_dup3, b->err, 2, 0) == 2 &&
           syscall(SYS_close_range, 3U, ~0U, 0U) == 0;
}

static bool become(const struct birth *b)
{
    static const unsigned long standard[8]; /* the kernel's sigaction: SIG_DFL, no more */

    if (setpgid(0, 0) != 0)
        return false;
    /* a worker that is killed takes its agents with it: others run them anew */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != b->worker)
        return false;
    for (int number = 1; number < NSIG; number++)
        syscall(SYS_rt_sigaction, number, standard, NULL, NSIG / 8); /* or need not be */
    return take_pipes(b) && (!b->o->directory || chdir(b->o->directory) == 0) &&
           limits(b->o) && sigprocmask(SIG_SETMASK, &b->none, NULL) == 0;
}

/* On a stack of its own, without the sanitizers' care for that of the worker. */
__attribute__((no_sanitize("address", "thread"))) static int born(void *arg)
{
    struct birth *b = arg;

    if (become(b))
        execve("/bin/sh", b->argv, b->vars);
    b->failed = errno ? errno : ECHILD;
    syscall(SYS_exit_group, EXIT_NO_EXEC);
    return EXIT_NO_EXEC;
}

static int spawn(const struct exec_options *o, char *const *vars, const struct pipes *p,
                 pid_t *ret_pid)
{
    char sh[] = "sh", dash_c[] = "-c";
    struct birth b = {.o = o,
                      .vars = vars,
                      .in = p->in[0],
                      .out = p->out[1],
                      .err = p->err[1],
                      .worker = getpid(),
                      .argv = {sh, dash_c, o->command, NULL}};
    char *stack = malloc(STACK_SIZE);
    sigset_t all, before;
    int e = 0;

    if (!stack)
        return ENOMEM;
    sigemptyset(&b.none);
    sigfillset(&all);
    /* until the child has its own handlers ours would run in it, in our memory */
    sigprocmask(SIG_SETMASK, &all, &before);
    *ret_pid = clone(born, stack + STACK_SIZE, BIRTH_FLAGS | SIGCHLD, &b);
    if (*ret_pid < 0) {
        e = errno;
    } else if (b.failed) {
        e = b.failed;
        waitpid(*ret_pid, NULL, 0);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    free(stack);
    return e;
}

static int watch(struct exec_process *made)
{
    int e;

    made->pidfd = (int)syscall(SYS_pidfd_open, made->pid, 0);
    if (made->pidfd >= 0)
        return 0;
    e = errno;
    kill(-made->pid, SIGKILL);
    waitpid(made->pid, NULL, 0);
    return e;
}

bool exec_spawn(const struct exec_options *o, const char *mark,
                const struct agent_input *in, struct exec_process *ret_process)
{
    struct environment env = {.count = 0};
    struct pipes p;
    struct exec_process made = {.pidfd = -1};
    int e = 0;

    if (!pipes_open(&p))
        e = errno;
    else if (!environment_fill(&env, o, mark, in))
        e = ENOMEM;
    if (e == 0)
        e = spawn(o, env.vars, &p, &made.pid);
    environment_fini(&env);
    if (e == 0)
        e = watch(&made);
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

static void grant_cpu(pid_t pid, int64_t more_s)
{
    struct timespec used;
    struct rlimit l;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0 ||
        prlimit(pid, RLIMIT_CPU, NULL, &l) != 0)
        return; /* it has gone */
    l.rlim_cur = (rlim_t)(used.tv_sec + 1 + more_s);
    if (l.rlim_cur > l.rlim_max)
        l.rlim_cur = l.rlim_max;
    prlimit(pid, RLIMIT_CPU, &l, NULL);
}

/* The shell, what it runs, and what that runs; each counts for itself. */
static void grant_cpu_below(pid_t pid, int64_t more_s, int depth)
{
    char path[64], text[4096], *at, *end;
    ssize_t len;
    int fd;

    grant_cpu(pid, more_s);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    fd = depth > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    len = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    for (at = text;; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at || child <= 0)
            return;
        grant_cpu_below((pid_t)child, more_s, depth - 1);
    }
}

void exec_spawn_grant_cpu(pid_t pid, int64_t more_s)
{
    grant_cpu_below(pid, more_s, CPU_DEPTH);
}
