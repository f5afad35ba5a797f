/* metrics: GET /metrics and GET /healthz for the operator, on loopback. Not a web server:
 * one small request, one answer, closed. */
#ifndef THREADCAST_WORKER_METRICS_H
#define THREADCAST_WORKER_METRICS_H

struct metrics;
struct worker;

/* listen: host:port, loopback only. Logs why and returns NULL when that cannot be. */
struct metrics *metrics_new(struct worker *w, const char *listen);
void metrics_free(struct metrics *m); /* NULL is fine */

#endif
