/* legacy_stream: one reader of an older run: a client that gets the entries of the run's
 * list as they are, all of them from the beginning, and the run's end in words that its
 * page knows.
 *
 *   subscribed ─▶ read ─▶ … as the socket drains … ─▶ at the end of the list
 *                  ▲                                     │ woken, or its timer
 *                  └─────────────────────────────────────┘ over? ─▶ close
 */
#ifndef THREADCAST_LEGACY_STREAM_H
#define THREADCAST_LEGACY_STREAM_H

#include "bridge/legacy_entry.h"
#include "bridge/legacy_page.h"
#include "bridge/legacy_voice.h"
#include "common/list.h"

#include <stdbool.h>
#include <stdint.h>

struct bridge;
struct client;
struct legacy_run;
struct msg;
struct sub;
struct timer;

struct legacy_stream {
    struct list node; /* in run->streams */
    struct list line; /* waits for its turn to read */
    struct bridge *bridge;
    struct legacy_run *run;
    struct client *client; /* NULL: has gone, and a read still points here */
    struct timer *poll;
    struct legacy_place place;
    struct legacy_voice voice; /* says what a worker of ours publishes */
    int64_t wait_ms;           /* the last pause */
    int64_t heard_ms;          /* when something new was read, or it began */
    int64_t word_ms;           /* when `word` came */
    enum legacy_word word;     /* what a control channel has said */
    enum legacy_end end;       /* what an entry has said */
    bool told;                 /* and the page has read that */
    bool error;                /* "status": "error" was among the entries */
    bool lost;                 /* a part of the run is gone, and the page knows */
    bool reading;              /* a read is under way */
    bool behind;               /* there may be more than was read */
    bool postgres;             /* everything comes from there: nothing is read */
    bool thread_granted;       /* may read the whole thread, not this run alone */
};

/* What to begin with. */
struct legacy_spec {
    const char *run_id;
    const char *last_id; /* ?last_id=; "": from the beginning */
    enum legacy_end end; /* how their database says that it ended */
    bool postgres, thread_granted;
};

/* Returns new, put on its run; NULL: no memory. */
struct legacy_stream *legacy_stream_new(struct client *c, const struct legacy_spec *spec);
void legacy_stream_free(struct legacy_stream *s); /* NULL is fine; its client goes */

void legacy_stream_wake(struct legacy_stream *s); /* there may be news */
void legacy_stream_word(struct legacy_stream *s, enum legacy_word word);
/* The socket has room again. */
void legacy_stream_more(struct legacy_stream *s);
/* An event of the run's thread. */
void legacy_stream_event(struct legacy_stream *s, struct msg *m, bool live);

#endif
