/* agents: which agents there are. A message names one of them and can never say what it
 * does: that comes from the operator's options and file alone. */
#ifndef THREADCAST_WORKER_AGENTS_H
#define THREADCAST_WORKER_AGENTS_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct agent_def;
struct agents;

/* Who says which there are; NULL: says nothing. */
struct agents_source {
    const char *standard; /* --agent: a name, or `<kind>[:<option>]` */
    const char *list;     /* --agents: name=<kind>[:<option>],… */
    const char *file;     /* --agents-file */
};

/* Reads the file. NULL: `err` says what is wrong and where. */
struct agents *agents_new(const struct agents_source *from, struct buf *err);
void agents_free(struct agents *a); /* runs keep what they use */
/* "default" is the standard one. NULL: there is none of that name. Borrows. */
const struct agent_def *agents_find(const struct agents *a, const char *name);
/* Those that the operator named, or that answer when nobody is named: what others are
 * shown. NULL: no more. Borrows. */
const struct agent_def *agents_at(const struct agents *a, size_t i);
/* The numbers of those of `before` that have the same name are theirs from here on. */
void agents_inherit(struct agents *a, const struct agents *before);
void agents_metrics(const struct agents *a, struct buf *out); /* Prometheus text */

#endif
