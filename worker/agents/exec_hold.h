/* exec_hold: what a run says while it is paused, of a process that serves others too.
 * Only exec_host.c includes it. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_HOLD_H
#define THREADCAST_WORKER_AGENTS_EXEC_HOLD_H

#include "common/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;
struct exec_child;
struct exec_line;
struct exec_options;
struct timer;
struct worker;

struct exec_host {
    struct list node;       /* exec_options->hosts */
    struct exec_options *o; /* NULL: they have gone */
    struct worker *w;
    struct exec_child *child;
    struct list runs;    /* agents that have a place here */
    size_t count, stuck; /* of them; those that did not obey a cancel */
    int64_t served;
    bool ready;   /* it said so */
    bool retired; /* gets no new runs */
    bool leaving; /* its stdin was closed */
    bool closed;  /* its stdout was, by itself */
    int bad_lines;
    uint64_t loose_bytes; /* of stdout since a line of one of its runs */
    /* why its runs end when we ended it; NULL: as it died */
    const char *code, *message;
    struct timer *timer; /* not ready in time; idle; does not leave */
    struct timer *hold;  /* stdout is not read */
};

bool exec_hold_is_end(const struct exec_line *l);
void exec_hold_told(struct agent *a, const struct exec_line *l); /* to its run */
void exec_hold_add(struct agent *a, const char *line, size_t len);
/* Until it has to pause again; `all`: whether or not. */
void exec_hold_pour(struct agent *a, bool all);
void exec_hold_read_again(struct exec_host *h); /* if nothing speaks against it */
void exec_hold_on_timer(void *arg);             /* the host's */

#endif
