/* exec_line: bytes of a pipe become lines, a line becomes what an agent may say. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_LINE_H
#define THREADCAST_WORKER_AGENTS_EXEC_LINE_H

#include "common/buf.h"
#include "common/event.h"
#include "common/names.h"

#include <stdbool.h>
#include <stddef.h>

/* Below the largest event, with room for what the run puts around it. */
#define EXEC_LINE_MAX (EVENT_MAX_BYTES - 4096)

struct exec_lines {
    struct buf data; /* a line whose end has not come */
    size_t max;
    bool skipping; /* inside a line that is too long */
};

void exec_lines_init(struct exec_lines *l, size_t max);
void exec_lines_fini(struct exec_lines *l);
/* Gives each whole line to `fn`, without its end; one that is too long as NULL, once.
 * `fn` answers false to stop: the rest of the bytes is dropped. */
typedef bool exec_line_fn(const char *line, size_t len, void *arg);
void exec_lines_feed(struct exec_lines *l, const char *data, size_t len, exec_line_fn *fn,
                     void *arg);
void exec_lines_end(struct exec_lines *l, exec_line_fn *fn,
                    void *arg); /* no more comes */

enum exec_said {
    EXEC_TOKEN,     /* text */
    EXEC_REASONING, /* text */
    EXEC_DELTA,     /* kind, json */
    EXEC_STATUS,    /* json */
    EXEC_DONE,      /* kind: the finish reason; json: usage, when has_usage */
    EXEC_ERROR,     /* kind: the code; text: the message; retryable */
    EXEC_READY,     /* protocol */
    EXEC_EMPTY,     /* an empty line */
    EXEC_BAD,       /* why */
};

struct exec_line {
    enum exec_said said;
    struct buf text, json;
    char kind[65];
    char run_id[UUID_SIZE]; /* the run that it names; empty: none, or no id at all */
    long long protocol;
    bool has_usage, retryable;
    const char *why; /* borrowed, constant */
};

/* Other ids and members that the line may carry are ignored: they are the run's to give.
 * Whether `run_id` is looked at, and may be said, is for the caller to know. */
void exec_line_parse(const char *line, size_t len, struct exec_line *ret_line);
void exec_line_fini(struct exec_line *l);

#endif
