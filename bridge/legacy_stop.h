/* legacy_stop: tells a worker of theirs to stop a run, in every way that its family of
 * workers listens to. */
#ifndef THREADCAST_LEGACY_STOP_H
#define THREADCAST_LEGACY_STOP_H

struct request;

/* r->param is the run, and r->identity may stop it. Answers {"status": "stopped"} when
 * Redis has taken it, else 503. */
void legacy_stop(struct request *r);

#endif
