/* farm: all readers, one epoll, one clock. The protocol of its commands and lines stands
 * at the top of commands.c. */
#ifndef FARM_FARM_H
#define FARM_FARM_H

#include "tests/faults/readers/latency.h"
#include "tests/faults/readers/reader.h"
#include "tests/faults/readers/wakes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PORTS_MAX = 64,
    OPENING_MAX = 200, /* connections without an answer, a port: less than a backlog */
    TOLD_MAX = 4096,
    READ_SIZE = 64 * 1024
};

/* A bridge. */
struct port {
    int number;
    int opening;
    bool active;
};

/* A piece of a story that was made lately. */
struct told {
    uint64_t key;
    uint32_t attempt, n;
    uint8_t len;
    char text[STORY_PIECE_MAX];
};

struct totals {
    uint64_t events, bytes, bare, connects, reconnects, failed, resets, busy, byes,
        stalled;
    uint64_t auths, refused, cut, violations;
    uint64_t bad; /* commands */
};

/* A command that is not whole yet. */
struct line {
    char *text;
    size_t len, size;
};

struct farm_conf {
    uint64_t seed;
    int64_t retry_max_ms;
    int64_t silence_ms; /* 0: a silent connection is kept for ever */
};

struct farm {
    struct farm_conf conf;
    int epoll;
    bool over;
    uint64_t random;
    int64_t now_ms, wall_ms;
    struct port ports[PORTS_MAX];
    size_t port_count, active_count;
    struct reader **readers; /* by number; NULL where there is none */
    size_t reader_size, reader_count;
    struct reader *queue, **queue_end; /* wait for a place */
    struct wakes wakes;
    struct book book;
    struct event_cache *events;
    struct told told[TOLD_MAX];
    struct latency latency;
    struct totals totals;
    struct line line;
    char buffer[READ_SIZE];
};

struct farm *farm_new(const struct farm_conf *conf);
void farm_free(struct farm *f);

/* Until `quit`, or the end of stdin. false: epoll does not take stdin. */
bool farm_run(struct farm *f);

void farm_now(struct farm *f);

void farm_set_ports(struct farm *f, const int *numbers, size_t count);

/* NULL when it is not there. */
struct reader *farm_reader(const struct farm *f, uint64_t number);
void farm_add(struct farm *f, struct reader *r);

/* Puts a reader in the line for a connection. */
void farm_queue(struct farm *f, struct reader *r);

/* A connection has its answer, or its end. */
void port_answered(struct port *port);

#endif
