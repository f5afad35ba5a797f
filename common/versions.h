/* versions: of what daemons of different versions have in common: the events that readers
 * parse, the script that publishes and the state that it keeps, the tables. */
#ifndef THREADCAST_VERSIONS_H
#define THREADCAST_VERSIONS_H

#include "common/buf.h"

#define VERSION_EVENT 1  /* docs/PROTOCOL.md */
#define VERSION_SCRIPT 1 /* publish.lua, its first argument, `v` of a thread's state */

/* "threadcast-bridge 0.1.0 (event 1, script 1, schema 4)\n", for --version */
void versions_line(const char *program, struct buf *out);
/* The same for Prometheus: the family threadcast_build_info. */
void versions_metric(struct buf *out);

#endif
