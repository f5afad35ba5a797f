/* What the files of one Redis connection share. Nobody outside redis*.c includes it. */
#ifndef THREADCAST_REDIS_INTERNAL_H
#define THREADCAST_REDIS_INTERNAL_H

#include "common/buf.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/redis.h"
#include "common/redis_queue.h"

#include <event2/util.h>
#include <openssl/ssl.h>

#define REDIS_WHY_SIZE 320

struct bufferevent;
struct event;
struct redis_dial;
struct redis_reader;
struct redis_sentinel;

struct redis {
    struct loop *loop;
    struct redis_options opt; /* defaults filled in; strings are ours */
    struct redis_events ev;
    void *arg;

    struct redis_url at;             /* where it goes; strings are the options' … */
    struct redis_sentinel *sentinel; /* … but with sentinels `host` is ours */
    struct list in_sentinel;
    uint64_t told; /* the sentinel's turn that gave the address; 0: it was good */
    bool seeking;  /* CONNECTING, until the sentinels have said where */

    enum redis_state state;
    struct redis_dial *dial; /* CONNECTING, until there is a socket */
    struct bufferevent *bev; /* from the socket on; without TLS it only writes */
    struct event *readable;  /* of a socket without TLS: we read it ourselves */
    SSL_CTX *tls;            /* rediss://, made once */
    struct redis_reader *reader;
    struct redis_queue queue;
    struct buf out;      /* commands of this turn */
    struct event *later; /* write `out`, finish going down: soon, from the loop */
    struct timer *retry, *connect, *reply;
    struct backoff backoff;

    int depth;         /* how many of our callbacks are on the stack */
    bool down_pending; /* lost; callers are told when depth is 0 */
    bool freed;        /* by the owner; memory goes when depth is 0 */
    char why[REDIS_WHY_SIZE];
    size_t refused_at; /* where in `why` Redis' own words begin; 0: there are none */
    int64_t ready_ms;  /* clock when it became READY; 0: never was */
    int64_t read_ms;   /* when bytes last came */
    bool batch;        /* messages were given out in this read */

    char run_id[41];
    char version[32];
    struct redis_counters counters;
};

/* redis_command.c: appends one command as RESP; false: no memory. */
size_t redis_command_size(int argc, const char *const *argv, const size_t *lens);
bool redis_command_write(struct buf *out, int argc, const char *const *argv,
                         const size_t *lens);

/* redis.c: the only way down, and the brackets around everything that may call the
 * owner: memory and connection stay until the outermost one is left. */
void redis_lose(struct redis *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void redis_enter(struct redis *r);
void redis_leave(struct redis *r);
bool redis_alive(const struct redis *r); /* neither lost nor freed meanwhile */

/* redis_connect.c */
void redis_on_retry(void *arg);
void redis_on_connect_timeout(void *arg);
void redis_ready(struct redis *r);
/* What the sentinels say, for one that is seeking. */
void redis_found(struct redis *r, const char *host, int port);

/* redis_io.c */
bool redis_command(struct redis *r, const struct redis_pending *p, int argc,
                   const char *const *argv, const size_t *lens);
void redis_distrust(struct redis *r, const char *what);    /* protocol error */
void redis_on_records(struct bufferevent *bev, void *arg); /* TLS */
void redis_on_readable(evutil_socket_t fd, short what, void *arg);
void redis_on_later(evutil_socket_t fd, short what, void *arg);
void redis_on_reply_timeout(void *arg);

/* redis_handshake.c */
void redis_handshake_start(struct redis *r);
/* An error reply's text, one printable line. */
void redis_error_text(const struct redis_reply *reply, char *out, size_t size);

/* redis_pubsub.c: one reply on a READY subscriber connection */
void redis_pubsub_reply(struct redis *r, const struct redis_reply *reply);

#endif
