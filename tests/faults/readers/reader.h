/* reader: one client of the bridge, as patient as a browser and as strict as a proof.
 *
 *   WAITING ─its time─▶ QUEUED ─a place─▶ CONNECTING ─▶ HEAD ─▶ STREAM
 *      ▲                                      └───────────┴───────┘
 *      └──────────── any end: after `retry`, jittered ────────────┘
 *
 * Calls: farm (paces, wakes) ─▶ reader ─▶ chunks ─▶ sse ─▶ check. A check that fails
 * never closes a connection under the parsers: it says so in `doomed`. */
#ifndef FARM_READER_H
#define FARM_READER_H

#include "tests/faults/readers/chunks.h"
#include "tests/faults/readers/sse.h"
#include "tests/faults/readers/view.h"

#include <stdint.h>

enum { TRACES = 12 };

struct farm;
struct port;

enum reader_state {
    READER_WAITING,
    READER_QUEUED,
    READER_CONNECTING,
    READER_HEAD,
    READER_STREAM,
    READER_CLOSED
};

/* One of the last things that happened. */
struct trace {
    int64_t at_ms;
    const char *what; /* NULL: an event */
    struct event_id id;
    const struct run *run;
    uint32_t attempt, bytes;
    enum event_type type;
};

struct reader {
    struct farm *farm;
    uint32_t number;
    bool merge;
    uint8_t view_count;
    struct view *views;
    char *token, *since;
    char *last_id; /* as it was said; "" when none was */
    /* the connection */
    enum reader_state state;
    int fd;
    struct port *port;
    uint32_t connections; /* so far */
    int64_t opened_wall_ms, heard_ms;
    struct chunks chunks;
    struct sse sse;
    char *head; /* NULL unless it is being read */
    size_t head_len;
    int64_t retry_ms;
    int last_status;    /* of the last refusal, so that it is told once */
    const char *doomed; /* why to close as soon as nobody is parsing; NULL */
    int64_t doomed_ms;  /* and when to come back; 0: as `retry` says */
    /* what is done to it; times are 0 when it is not */
    int64_t cut_left, cut_by_ms; /* bytes until it is cut */
    bool cut_rst;
    int64_t stall_until_ms;
    int64_t slow_bytes_s, slow_left, slow_at_ms;
    int64_t slow_until_ms; /* 0: it is slow for good, or not at all */
    /* its place in others' lists */
    int64_t wake_ms;
    size_t wake_at; /* 1 + index in the heap; 0: none */
    struct reader *next_queued;
    struct trace traces[TRACES];
    uint64_t trace_count;
};

void reader_free(struct reader *r);

/* Wants a connection; the farm calls reader_connect when there is room. */
void reader_open(struct reader *r);
void reader_connect(struct reader *r, struct port *port);

/* The end of a connection, whoever's doing; it comes back unless it was closed for good.
 */
void reader_drop(struct reader *r, const char *why, int64_t again_ms);
void reader_close(struct reader *r);

void reader_on_events(struct reader *r, uint32_t events);
void reader_on_wake(struct reader *r);

/* Sets its next wake by what it waits for. */
void reader_schedule(struct reader *r);

void reader_note(struct reader *r, const char *what);

/* --- what the farm does to it ----------------------------------------------------- */
void reader_cut(struct reader *r, int64_t after_bytes, int64_t within_ms, bool rst);
void reader_stall(struct reader *r, int64_t ms);
void reader_slow(struct reader *r, int64_t bytes_s, int64_t ms);
void reader_half_close(struct reader *r);
void reader_set_token(struct reader *r, const char *token);

#endif
