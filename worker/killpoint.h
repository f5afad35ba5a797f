/* killpoint: named points of a run's life at which a test can make the worker die, or
 * sleep past its lease. Built only with -DTHREADCAST_KILL_POINTS=ON (never a release):
 *
 *     THREADCAST_KILL_POINT=<name>[:<nth>][,stop]   at the nth pass SIGKILL (SIGSTOP)
 *
 * The names, in the order of a run's life ("sent": handed to the connection, "answered":
 * before anything is made of the answer):
 *
 *     claim-sent  claim-answered  run-made  history-answered  agent-started
 *     begin-sent  begin-answered  token-queued  publish-sent  publish-answered
 *     renew-sent  renew-answered  anew-begun
 *     agent-done  agent-failed  cancel-heard  requeue-sent  requeue-answered
 *     finish-sent  finish-answered  end-poured  end-sent  end-answered
 *     mark-sent  mark-answered
 *     hand-back-sent  hand-back-answered
 *     sweep-found  sweep-sent  sweep-answered  sweep-marked
 *     alive-sent */
#ifndef THREADCAST_WORKER_KILLPOINT_H
#define THREADCAST_WORKER_KILLPOINT_H

#ifdef THREADCAST_KILL_POINTS
void kill_point(const char *name);
#define KILL_POINT(name) kill_point(name)
#else
#define KILL_POINT(name) ((void)0)
#endif

#endif
