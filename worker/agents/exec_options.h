/* exec_options: what the operator says of a program that is an agent. The table in
 * exec_options.c has every member, its bounds and what it is when nobody says anything.
 *
 *   agents.json ──exec_options_new──▶ one struct an agent, which also holds its processes
 *                                     when they serve many runs (exec_pool.c) */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_OPTIONS_H
#define THREADCAST_WORKER_AGENTS_EXEC_OPTIONS_H

#include "common/buf.h"
#include "common/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXEC_ENV_MAX = 64 };

struct exec_options {
    char *command;   /* for /bin/sh -c */
    char *directory; /* NULL: the worker's */
    bool persistent; /* one process serves many runs */

    /* limits; 0: none of ours */
    int64_t time_limit_s;    /* a run */
    int64_t cpu_limit_s;     /* a run; persistent: since the last one was given to it */
    int64_t memory_limit_mb; /* address space of each process */
    int64_t output_limit_bytes; /* stdout, a run */
    int64_t files_limit;        /* open descriptors of each process */

    /* persistent */
    int64_t processes, runs_at_once; /* at most; runs of one process */
    int64_t start_limit_s;           /* until it says that it is ready */
    int64_t idle_s;                  /* without a run; 0: it stays */
    int64_t runs_per_process;        /* then a new one takes its place; 0: any number */

    /* `NAME=value` is set, `NAME` is passed on when the worker has it; NULL ends it */
    char *env[EXEC_ENV_MAX + 1];

    struct list hosts;   /* its processes */
    struct list waiting; /* runs for which none has a place */
};

/* As agent_kind has them. */
void *exec_options_new(const char *json, size_t len, struct buf *err);
/* Processes that still run are told to stop. NULL is fine. */
void exec_options_free(void *options);

#endif
