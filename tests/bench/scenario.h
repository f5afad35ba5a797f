/* One measurement: what was asked for, what is used for it, and what came out. */
#ifndef BENCH_SCENARIO_H
#define BENCH_SCENARIO_H

#include "publisher.h"
#include "readers.h"
#include "usage.h"

struct scenario_conf {
    struct readers_conf readers;
    struct publisher_conf publisher;
    struct usage_of server, beside; /* beside: what it needs, say Redis */
    int stalled;                    /* readers more, that never read */
    double rate;                    /* events a second, over all threads */
    double warm_s;                  /* of the same before it counts */
    double seconds;
    int window;     /* flat out: deliveries that may be under way */
    int missed;     /* resume, replay: events of a thread that are in the log */
    int settle_ms;  /* idle: how long to wait before memory is read */
    int patience_s; /* for what is still under way, without progress */
};

struct scenario {
    struct scenario_conf conf;
    struct readers readers;
    struct publisher publisher;
    uint32_t *numbers; /* of the last event of each thread */
    int *stalled;
    uint64_t published, expected; /* events; deliveries that they make */
    uint64_t received_warm;       /* deliveries of the warm-up */
    uint64_t began_ns;
    double open_s;   /* until every stream was asked for */
    double probe_s;  /* until every reader had seen a probe */
    double wall_s;   /* resume, replay: until everything had arrived */
    double reopen_s; /* resume: until every stream was asked for again */
    double per_second;
    uint64_t late_max_ns; /* how far behind its plan the publisher was */
    unsigned stalled_cut;
    struct usage at_start, when_open, before, after, beside_before, beside_after;
    struct kernel_usage kernel_start, kernel_open, kernel_after;
};

/* Each runs to its end; what came out stands in the struct. */
void scenario_rate(struct scenario *s);
void scenario_flat(struct scenario *s);
void scenario_idle(struct scenario *s);
void scenario_resume(struct scenario *s);
void scenario_replay(struct scenario *s);

void scenario_init(struct scenario *s, const struct scenario_conf *conf);
void scenario_fini(struct scenario *s);

#endif
