/* exec_options: what an exec agent's object in agents.json says. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_OPTIONS_H
#define THREADCAST_WORKER_AGENTS_EXEC_OPTIONS_H

#include "common/buf.h"

#include <stddef.h>

struct exec_options {
    char *command; /* for /bin/sh -c */
};

/* As agent_kind has them. */
void *exec_options_new(const char *json, size_t len, struct buf *err);
void exec_options_free(void *options);

#endif
