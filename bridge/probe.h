/* probe: a stream of the bridge's own making: pieces at a known pace, keepalives,
 * silence, an end. Who reads it behind a proxy sees what that does to a stream
 * (`threadcast doctor`). Redis, Postgres and threads have no part in it. */
#ifndef THREADCAST_PROBE_H
#define THREADCAST_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct bridge;
struct client;

/* In this order; all bounded by who reads the request. */
struct probe_plan {
    int64_t events, every_ms, bytes;  /* pieces, each padded by so many bytes */
    int64_t keepalives, keepalive_ms; /* then comments alone */
    int64_t quiet_ms;                 /* then not a byte, then the end */
};

/* How long it lasts. */
int64_t probe_ms(const struct probe_plan *plan);

/* Begins on an open stream; `hello` (JSON) is its first event. Takes the place that
 * limits_probe_take gave, in every case. false: no memory, the stream is closed. */
bool probe_start(struct client *c, const struct probe_plan *plan, const char *hello);
/* The bridge closes: what is left of them. */
void probes_end(struct bridge *b);

#endif
