/* static: the demo application's files, read into memory once at start. */
#ifndef THREADCAST_STATIC_H
#define THREADCAST_STATIC_H

#include "common/buf.h"

struct statics;
struct request;

struct statics *statics_load(const char *dir, struct buf *err); /* returns new or NULL */
void statics_free(struct statics *s);

#endif
