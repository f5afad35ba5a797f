/* intake: from the database's hints and its own clock to claimed runs; and the leases of
 * those it has. NOTIFY is a hint, the poll is the truth. */
#ifndef THREADCAST_WORKER_INTAKE_H
#define THREADCAST_WORKER_INTAKE_H

#include <stdbool.h>

struct intake;
struct worker;

struct intake *intake_new(struct worker *w);
void intake_free(struct intake *in);
void intake_claim(struct intake *in); /* now, if there is room; several become one */
void intake_look(struct intake *in);  /* when there may be something later */
void intake_stop(struct intake *in);  /* no new claims; leases go on */

#endif
