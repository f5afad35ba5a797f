/* static: the files of the demo application, and those of the client that pages import;
 * read into memory once at start. */
#ifndef THREADCAST_STATIC_H
#define THREADCAST_STATIC_H

#include "common/buf.h"

struct statics;

/* What a process serves out of memory; both borrowed, both may be NULL. */
struct bridge_files {
    struct statics *app, *client;
};

struct request;

/* Without a file of the name `needed` it is the wrong directory. Returns new, or NULL. */
struct statics *statics_load(const char *dir, const char *needed, struct buf *err);
void statics_free(struct statics *s);

#endif
