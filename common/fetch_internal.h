/* What the files of fetch share: fetch.c (curl's sockets, what has ended), fetch_ask.c (a
 * question in curl's words), fetch_stream.c (answers that are handed over as they come).
 * Nobody else includes it. */
#ifndef THREADCAST_FETCH_INTERNAL_H
#define THREADCAST_FETCH_INTERNAL_H

#include "common/fetch.h"
#include "common/list.h"

#include <curl/curl.h>

struct timer;

enum {
    HEADERS_MAX = 32768,    /* bytes of an answer's headers */
    CONNECTIONS_KEPT = 256, /* busy ones count: with fewer, none of many is used again */
    BODY_MAX = 65536,       /* unless the caller says otherwise */
    WAITING_MAX = 65536,    /* of a stream, for a reader that pauses */
    LEFT_MAX = 64,          /* fetches that nobody waits for any more */
    LEFT_BYTES_MAX = 16384, /* of each, that are read and dropped */
    LEFT_MS = 1000,         /* how long they may take */
};

struct fetcher {
    struct loop *loop;
    CURLM *multi;
    struct timer *timer, *later, *leave;
    const char *ca_file;
    bool bundle; /* curl was built with a file of CA certificates */
    struct list fetches;
    size_t count;
    struct list news; /* streams that have something for their reader */
    struct list left; /* streams that are read to their end for the connection's sake */
    size_t left_count;
};

struct fetch {
    struct list node;
    struct fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body; /* of the answer */
    size_t header_bytes;
    const char *excess; /* which limit the answer passed, or NULL */
    bool done;          /* its fn is being called */
    char error[CURL_ERROR_SIZE];
    fetch_fn *fn;
    void *arg;

    /* a stream */
    const struct fetch_reader *reader; /* NULL: the body is wanted whole */
    struct list news;                  /* fetcher->news */
    size_t handed;                     /* bytes at the front of `body` that were read */
    size_t taken, taken_max;           /* bytes of the body until now */
    bool headed, head_said;            /* the headers are complete; on_head was called */
    bool opening;         /* curl gives what it kept: it is in memory anyway */
    bool paused, full;    /* by its reader; curl waits until there is room */
    bool over;            /* curl has done with it, by `code` */
    bool busy, cancelled; /* its reader runs; and wants no more */
    bool is_left;         /* in fetcher->left */
    CURLcode code;
};

/* fetch.c */
void fetch_free(struct fetch *q);
void fetch_take_out(struct fetch *q); /* of every list, and away from curl */
void fetch_finish(struct fetch *q, CURLcode code);
long fetch_status(const struct fetch *q);

/* fetch_ask.c: false: no memory, or a header that cannot be */
bool fetch_ask(struct fetch *q, const struct fetch_request *r);

/* fetch_stream.c */
void fetch_mark(struct fetch *q);      /* it has something for its reader */
void fetch_hand_over(struct fetch *q); /* gives it */
/* From curl: as its write callback answers. */
size_t fetch_stream_body(struct fetch *q, const char *data, size_t len);
void fetch_leave_all(struct fetcher *f); /* those that nobody waits for */

#endif
