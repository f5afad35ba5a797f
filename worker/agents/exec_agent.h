/* exec_agent: one run that a program answers, whether the program is there for it alone
 * (exec.c) or for many (exec_host.c, exec_pool.c). Only these files include it. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_AGENT_H
#define THREADCAST_WORKER_AGENTS_EXEC_AGENT_H

#include "common/buf.h"
#include "common/list.h"
#include "common/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_input;
struct exec_child;
struct exec_host;
struct exec_line;
struct exec_options;
struct run;
struct timer;
struct worker;

struct agent {
    struct worker *w;
    struct run *run;        /* NULL: released, nothing may be said any more */
    struct exec_options *o; /* borrowed while there is a run */
    char run_id[UUID_SIZE], agent_id[65];
    size_t out_bytes; /* of stdout, for this run */
    int bad_lines;
    bool paused;
    bool ended;          /* the run knows its end */
    struct timer *limit; /* time_limit_s */
    struct timer *grace; /* exec-kill-ms: it was told to come to its end */

    struct exec_child *child; /* a program of its own; NULL: it has gone */

    struct list node;       /* exec_options->waiting or exec_host->runs */
    struct exec_host *host; /* NULL: none has a place yet */
    struct buf line;        /* what the process is told; empty once it was */
    bool sent, over;        /* the process has it; and has said its end */
    bool stuck;             /* was cancelled, and went on all the same */
    struct buf held;        /* its lines while it is paused */
    struct timer *again;    /* they are taken up */
};

/* Returns new. `on_grace` belongs to who makes it. */
struct agent *agent_new(struct worker *w, struct exec_options *o, struct run *r,
                        const struct agent_input *in, void (*on_grace)(void *arg),
                        void (*on_again)(void *arg));
void agent_free(struct agent *a);
/* Appends the job on one line; `type` goes first when it is not NULL. */
void agent_add_job(struct buf *out, const struct agent_input *in, const char *type);
void agent_begin(struct agent *a); /* its time runs */
/* What a line of its process says. */
void agent_said(struct agent *a, const struct exec_line *l);
void agent_bad_line(struct agent *a, const char *why);
/* Counts bytes of its stdout; ends it when there are too many. */
void agent_count_bytes(struct agent *a, size_t count);
void agent_fail(struct agent *a, const char *code, const char *message, bool retryable);

#endif
