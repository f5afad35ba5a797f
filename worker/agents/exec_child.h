/* exec_child: a program that was started, whoever it works for: its pipes, its group,
 * and its death, of which its owner hears exactly once.
 *
 *   stdin ◀── input      stdout ──lines──▶ on_line     stderr ──lines──▶ our log
 *   pidfd ──gone──▶ what was left in the pipes, then on_gone */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_CHILD_H
#define THREADCAST_WORKER_AGENTS_EXEC_CHILD_H

#include "common/buf.h"
#include "common/list.h"
#include "common/names.h"
#include "worker/agents/exec_line.h"
#include "worker/agents/exec_spawn.h"

#include <stdbool.h>
#include <stddef.h>

struct agent_input;
struct event;
struct exec_options;
struct timer;
struct worker;

/* How it went, in words that may be shown. */
struct exec_death {
    bool well;        /* status 0 */
    const char *code; /* of an error */
    char message[160];
};

struct exec_owner {
    exec_line_fn *on_line;                     /* false: it wants no more of this */
    void (*on_bytes)(size_t count, void *arg); /* of stdout, before their lines */
    void (*on_closed)(void *arg);              /* stdout, while the program lives */
    /* Frees or forgets the child's pointer: it is freed behind this. */
    void (*on_gone)(const struct exec_death *death, void *arg);
    void *arg;
};

struct exec_child {
    struct list node; /* worker->processes */
    struct worker *w;
    const struct exec_owner *owner; /* borrowed */
    void *arg;
    char label[65 + UUID_SIZE]; /* for the log: the run, or the agent */
    char mark[UUID_SIZE];       /* in the environment of all that it starts */
    int64_t cpu_limit_s, memory_limit_mb;
    struct exec_process p;
    struct event *in, *out, *err, *gone;
    struct timer *kill;
    struct buf input; /* what stdin has not taken */
    bool keep;        /* stdin stays open when it has taken all */
    struct exec_lines lines, log_lines;
    int logged;
    int64_t log_since_ms; /* of those that are counted in `logged` */
    bool paused;
    bool termed; /* SIGTERM was sent: the timer means SIGKILL */
};

/* Returns new, or NULL: errno says why. `in`: NULL for one that serves many runs. */
struct exec_child *exec_child_new(struct worker *w, const struct exec_options *o,
                                  const struct agent_input *in, const char *label,
                                  const struct exec_owner *owner, void *arg);
/* What was added to `input` is written from here on; its end is told when `keep` is off.
 */
void exec_child_write(struct exec_child *c);
void exec_child_close_input(struct exec_child *c);
void exec_child_pause(struct exec_child *c); /* stdout is not read: it has to wait */
void exec_child_resume(struct exec_child *c);
/* SIGTERM to its group, SIGKILL exec-kill-ms later. */
void exec_child_end(struct exec_child *c);
bool exec_child_lives(const struct exec_child *c);
/* At once, without a last look into its pipes: the worker leaves. */
void exec_child_kill(struct exec_child *c);

#endif
