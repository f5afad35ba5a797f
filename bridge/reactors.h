/* reactors: the loops of this process, each a struct bridge on a thread of its own with
 * its own listening socket, connections to Redis and streams. Nothing is shared on the
 * way of an event; what the process has only one of stands here. */
#ifndef THREADCAST_REACTORS_H
#define THREADCAST_REACTORS_H

#include "common/buf.h"
#include "common/names.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

struct auth;
struct bridge;
struct bridge_conf;
struct bridge_files;
struct gather;
struct limits;
struct report;
struct revoked;
struct timer;

#define REACTORS_MAX 64

struct reactors {
    const struct bridge_conf *conf; /* borrowed, like the two below; immutable */
    struct auth *auth;              /* each gets a copy */
    const struct bridge_files *files;
    struct limits *limits; /* of the process, like the two below */
    struct gather *gather;
    struct revoked *revoked; /* NULL with --auth none */
    struct report *reports;  /* what each said of itself last (metrics.c) */
    struct bridge **all;
    size_t count, made;
    size_t empty; /* of a drain: those that have nobody left; number 0's thread */
    struct timer *overdue;
    pthread_mutex_t lock; /* of `reports` */
    atomic_bool leaving;  /* a drain has begun; from any thread */
    atomic_uint advised;  /* enum advice: what was said; from any thread */
    char instance[INSTANCE_SIZE];
    unsigned char pseudonym_key[32]; /* random: names of subjects for /debug/streams */
};

/* Listens, but serves nobody yet. NULL: `err` says why. */
struct reactors *reactors_new(const struct bridge_conf *conf, struct auth *auth,
                              const struct bridge_files *files, struct buf *err);
void reactors_free(struct reactors *rs); /* NULL is fine */
/* Serves until a drain is over; number 0 has the calling thread and the signals. */
void reactors_run(struct reactors *rs);

/* For a reactor that drains: nobody is left here. From its thread. */
void reactors_empty(struct bridge *b);

/* The number of a reactor whose loop has not turned for --hang-ms, or -1. From any. */
int reactors_hanging(const struct reactors *rs);

#endif
