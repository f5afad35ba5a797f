/* report: what was found, for people and for programs. */
#ifndef THREADCAST_CLI_REPORT_H
#define THREADCAST_CLI_REPORT_H

#include "cli/diagnose.h"

/* 0: nothing to change, 1: something is, 2: it could not be found out */
int report_status(const struct diagnosis *d);
void report_text(const struct checkup *c, const struct diagnosis *d, struct buf *out);
/* false: no memory */
bool report_json(const struct checkup *c, const struct diagnosis *d, struct buf *out);

#endif
