/* agents_file: --agents-file, {"default": "…", "agents": {"<name>": {"kind": "…", …}}}.
 */
#ifndef THREADCAST_WORKER_AGENTS_FILE_H
#define THREADCAST_WORKER_AGENTS_FILE_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* One agent as the operator gave it; borrowed. */
struct agent_given {
    const char *where; /* goes before its name in a complaint */
    const char *name;
    size_t name_len;
    const char *kind;
    size_t kind_len;
    const char *description; /* or NULL */
    const char *options;     /* the text of a JSON object */
    size_t options_len;
};

/* Calls `add` for each agent, in the order of the file; that returns false with the
 * reason in `err`. `ret_standard` gets the file's default, nothing if it names none.
 * false: `err` says what is wrong and where, and never a value: there may be keys in the
 * file. */
bool agents_file_read(const char *path,
                      bool (*add)(void *arg, const struct agent_given *g,
                                  struct buf *err),
                      void *arg, struct buf *ret_standard, struct buf *err);

#endif
