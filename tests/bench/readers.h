/* Many readers of streams: they connect, ask, and count what arrives. One thread of their
 * own reads all of them; the main thread opens and closes, and reads the counters.
 *
 *   main: readers_open ─▶ (probes) ─▶ publishes ─▶ waits for `received` ─▶ readers_close
 *                              the readers' thread: epoll ─▶ recv ─▶ marks ─▶ counters
 */
#ifndef BENCH_READERS_H
#define BENCH_READERS_H

#include "histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define CURSOR_BYTES 64

struct readers_conf {
    int port;
    const char *path;   /* {} is the thread's number */
    const char *header; /* one more line of the request, or NULL */
    int first, threads; /* reader i reads thread first + i % threads */
    int count;
    bool cursors; /* remember the last id, for Last-Event-ID */
};

enum reader_state {
    READER_CLOSED,
    READER_ASKED,
    READER_OPEN,
    READER_REFUSED,
    READER_ENDED
};

struct reader {
    int fd;
    enum reader_state state;
    bool ready;       /* has seen a probe: its subscription stands */
    unsigned number;  /* of the last event it has seen */
    unsigned missing; /* before it, so far */
    unsigned tail_len;
    char tail[28]; /* the beginning of a mark whose end has not come yet */
};

/* What an EventSource remembers: an id counts when its event is complete. */
struct cursor {
    char id[CURSOR_BYTES], pending[CURSOR_BYTES];
    char line[CURSOR_BYTES + 8]; /* the beginning of a line whose end has not come yet */
    unsigned line_len;
};

struct readers {
    struct readers_conf conf;
    struct reader *all;
    struct cursor *cursors;
    int epoll;
    pthread_t thread;
    char *buffer;
    atomic_bool stop;
    atomic_ullong received; /* events, each once; probes are not events */
    atomic_ullong bytes;
    atomic_uint answered, ready, refused, ended;
    atomic_ullong reordered;  /* of these: after a later one */
    atomic_ullong repeated;   /* not of these: seen before */
    atomic_ullong from_ns;    /* latencies of events sent before do not count */
    struct histogram latency; /* the readers' thread's; read it when it is quiet */
};

void readers_init(struct readers *r, const struct readers_conf *conf);
void readers_fini(struct readers *r);

/* Connects and asks for all streams, with Last-Event-ID where one is known. false when a
 * connection was refused. */
bool readers_open(struct readers *r);
/* Cuts all connections at once; what was seen is remembered. */
void readers_close(struct readers *r);

/* How many readers a thread has. */
int readers_of(const struct readers *r, int thread);

#endif
