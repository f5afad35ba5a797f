/* client: one open stream: a socket, what is still to be written to it, and its place in
 * one or several threads. It dies through client_close alone, and is freed by the reaper
 * at the end of the turn. */
#ifndef THREADCAST_CLIENT_H
#define THREADCAST_CLIENT_H

#include "bridge/label.h"
#include "bridge/limits.h"
#include "bridge/outbuf.h"
#include "common/list.h"
#include "common/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bridge;
struct client;
struct clients;
struct event;
struct identity;
struct legacy_stream;
struct page;
struct topic;

/* Why a stream ended; each has a counter and a word for the log. */
enum close_reason {
    CLOSE_CLIENT,  /* the browser left */
    CLOSE_SLOW,    /* its queue passed --client-queue-bytes */
    CLOSE_STALLED, /* a write made no progress for --write-stall-ms */
    CLOSE_WROTE,   /* it sent bytes on a stream */
    CLOSE_TOKEN,   /* its token ended */
    CLOSE_REVOKED, /* it may no longer read the thread */
    CLOSE_DRAIN,   /* we are going away */
    CLOSE_AGED,    /* it was open for --max-stream-age-ms */
    CLOSE_BUSY,    /* a transient refusal */
    CLOSE_ENDED,   /* the run it follows has ended: with a last chunk */
    CLOSE_DEMO,    /* "Cut my connection" */
    CLOSE_POLLED,  /* a short answer is whole: with a last chunk, too */
    CLOSE_MEMORY,  /* no memory for what it should have got */
    CLOSE_REASONS,
};
const char *close_reason_text(enum close_reason reason);

/* Where one stream stands in one thread.
 *
 *   WAITING ─subscribed─▶ ASKING ─cursor─▶ REPLAYING ─page reaches the feed─▶ LIVE
 *      (an id was given: straight to REPLAYING)                 └─▶ AHEAD ──────┘
 */
enum sub_state {
    SUB_WAITING,   /* the thread's channel is not subscribed yet */
    SUB_ASKING,    /* for the thread's cursor */
    SUB_REPLAYING, /* reads pages of the log as its socket drains */
    SUB_AHEAD,     /* live, but the log gave it more than the feed has shown yet */
    SUB_LIVE,      /* at the topic's position */
};

enum sub_since {
    SINCE_RUN,     /* nothing given: the beginning of the live runs */
    SINCE_NOW,     /* ?since=now */
    SINCE_ID,      /* behind `pos`; zero: all that is kept */
    SINCE_UNKNOWN, /* a position we cannot read: `reset` */
};

struct sub {
    struct list node;    /* in topic->subs, in every state */
    struct topic *topic; /* NULL once it has left */
    struct client *client;
    struct page *page;     /* the read under way or waiting, REPLAYING only */
    struct event_id pos;   /* delivered up to here; LIVE: the topic knows */
    struct event_id asked; /* where the feed was when the page was asked for */
    const char *reset;     /* why the position is lost, until `reset` was said */
    uint32_t shown;        /* topic->shown when the page was asked for */
    uint32_t generation;   /* of the subscription then */
    uint16_t page_count;   /* entries asked for */
    uint8_t state, since;
    bool has_pos;  /* pos means something */
    bool proven;   /* pos came from the log's own cursor: nothing to check */
    bool by_owner; /* may read it as the thread's owner: asked again on changes */
};

/* What a reader asks for who cannot read a stream as it is. (manner.c) */
struct stream_manner {
    bool ping;       /* keepalives as events, because it never sees a comment */
    bool poll;       /* an answer that ends when there is something in it, … */
    int64_t poll_ms; /* … or after this */
};

/* What a stream should be; strings are borrowed, `identity` is referenced. */
struct client_spec {
    int fd;      /* taken */
    bool http10; /* no chunks, ends with the connection */
    bool ends; /* whole, some time: its connection must not be kept for another request */
    bool merge;
    struct stream_manner manner;
    struct identity *identity;
    struct limit_seat seat; /* taken */
    const char *headers;    /* further response header lines, with CRLF */
    const char *run_id;     /* that run alone; NULL: everything */
    const char *request_id; /* of the request that opens it, for the log; NULL: none */
    size_t threads;
};

struct client {
    struct list node;  /* clients->all, or clients->dead */
    struct list dirty; /* clients->dirty or ->late: something to flush */
    struct list waits; /* clients->quiet, or ->blocked; least recently written first */
    struct clients *set;
    struct event *writable; /* only while blocked */
    struct identity *identity;
    struct limit_seat seat;
    char *run_id;
    struct legacy_stream *older; /* reads an older run's list; NULL: none */
    char *connection;    /* its name for POST /v1/session/extend, once told (renew.c) */
    union label request; /* the id of the one that opened it, for the log */
    struct outbuf out;
    uint64_t number; /* of this stream, for the log */
    uint64_t events, bytes;
    struct event_id first;       /* of what was sent; zero: nothing with an id yet */
    int64_t opened_ms, wrote_ms; /* the latter also: blocked since, without a byte */
    /* ending: closed then, whatever is left. Before that: every sub must have had a page
     * by then, unless Redis is busy answering others; 0: it has. */
    int64_t by_ms;
    int64_t poll_by_ms; /* a short answer ends then, with or without events */
    int fd;
    uint32_t read_bytes, merged;
    uint16_t pending; /* questions under way that hold a pointer */
    uint8_t reason, request_kind;
    bool closed, ending, merge, warned;
    bool greeted; /* it has been told a position, or had one */
    bool over;    /* its queue passed the limit in this turn */
    bool wide; /* its socket may hold what the kernel likes, until its queue is empty */
    bool ping, poll; /* struct stream_manner */
    bool recheck;    /* its right could not be asked about: again */
    bool silent;     /* keepalives are its owner's business (probe.c) */
    uint16_t count;
    struct sub subs[];
};

/* Somebody who reads has said something, or left. (struct ears) */
void client_hear(void *client);

/* Takes spec->fd and spec->seat in every case. Writes the response head and the first
 * bytes (`retry:` and a comment) into the queue. NULL: no memory, the descriptor is
 * closed. */
struct client *client_new(struct clients *set, const struct client_spec *spec);

/* A live event for this reader; merges or cuts it when it is slow. */
void client_send(struct sub *s, struct msg *m);
/* A replayed one: paced, never cuts. */
void client_replay(struct sub *s, struct msg *m);

/* Queues it as it is. false: no memory. */
bool client_push(struct client *c, struct msg *m, bool live);

/* The bridge's own event, with the current id: client_say(c, "bye", "{\"…\":…}"). With
 * `retry_ms` > 0 a retry line is in it. */
void client_say(struct client *c, const char *name, const char *json, int64_t retry_ms);

/* A transient refusal after the stream has begun: `busy`, then the end. (clients.c) */
void client_refuse(struct client *c, const char *json);
/* Ends it once what is queued has been written; `last_chunk`: only for a run's end. */
void client_end(struct client *c, enum close_reason reason);
/* Ends it now. Safe anywhere: it is freed at the end of the turn. */
void client_close(struct client *c, enum close_reason reason);

/* Writes what is queued; at the end of the turn, or when the socket has room again. */
void client_flush(struct client *c);
/* Queues `:keepalive`, or what this reader gets instead. */
void client_keepalive(struct client *c);
/* Queues `ping`. (manner.c) */
void client_ping(struct client *c, int64_t retry_ms);
/* Ends a short answer that is whole. (manner.c) */
void client_poll(struct client *c);

/* (client_place.c) The id of where it stands: "17-3", of several threads "17-3,0". false:
 * not known yet.
 */
#define POSITION_SIZE (32 * EVENT_ID_SIZE)
bool client_position(const struct client *c, char out[POSITION_SIZE]);
/* Keeps that: its topics go on while it waits to be freed. */
void client_stays(struct client *c);

#endif
