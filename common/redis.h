/* redis: one connection to one Redis, reconnected by itself. Its files are the only ones
 * that see hiredis (the reader); sockets, TLS and timers are libevent's.
 *
 *   WAITING ──timer──▶ CONNECTING ──▶ HANDSHAKE ──▶ READY ──lost──▶ WAITING …
 *                      (dns, tcp, tls)  AUTH, SELECT, CLIENT SETNAME, INFO server, PING
 *
 * With sentinels CONNECTING begins by asking them, HANDSHAKE sees by ROLE that it is a
 * master, and READY ends when it is no longer the one.
 *
 * Commands are queued only while READY; a caller learns the end of every one of them,
 * by its reply or by NULL when the connection was lost (then it is unknown whether it
 * was carried out). Nothing is sent again by itself. */
#ifndef THREADCAST_REDIS_H
#define THREADCAST_REDIS_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct redis;

struct redis_sentinels;

/* redis://[user][:password@]host[:port][/db]  rediss://…
 * unix://[user][:password@]/path[?db=n]
 * redis+sentinel://[user][:password@]host[:port],host[:port]…/master[/db][?…]
 *     with sentinel-user=, sentinel-password= or sentinel-password-file= */
struct redis_url {
    bool tls;
    char *unix_path; /* or NULL */
    char *host;      /* NULL: `unix_path`, or where the sentinels say */
    int port;
    char *user, *password; /* percent-decoded; NULL: none */
    int db;
    struct redis_sentinels *sentinels; /* or NULL */
};

/* Whom to ask where the master is. */
#define REDIS_SENTINELS_MAX 16
struct redis_sentinels {
    char *master;        /* its name */
    char *password_file; /* or NULL; read by redis_url_load */
    size_t count;
    struct redis_url at[REDIS_SENTINELS_MAX]; /* each with their own user and password */
};

bool redis_url_parse(const char *text, struct redis_url *ret_url, struct buf *err);
/* Reads the files that a URL names. false: `err` says which and why. */
bool redis_url_load(struct redis_url *url, struct buf *err);
void redis_url_fini(struct redis_url *url);

enum redis_type {
    REDIS_STRING,
    REDIS_ARRAY,
    REDIS_INTEGER,
    REDIS_NIL,
    REDIS_STATUS,
    REDIS_FAILURE, /* an error reply; `str` is its text */
};

/* A reply, borrowed for the time of the callback. */
struct redis_reply {
    enum redis_type type;
    int64_t integer;
    const char *str;
    size_t len;
    size_t count; /* elements of an array */
    struct redis_reply *const *items;
};

enum redis_state { REDIS_WAITING, REDIS_CONNECTING, REDIS_HANDSHAKE, REDIS_READY };

struct redis_options {
    const struct redis_url *url; /* borrowed, must outlive the connection */
    const char *name;            /* CLIENT SETNAME; copied */
    const char *tls_ca_file;     /* NULL: the system's */
    int64_t connect_ms;          /* whole connect and handshake; 0: 3,000 */
    int64_t reply_ms;   /* oldest unanswered command; lost when passed; 0: 5,000 */
    int64_t backoff_ms; /* largest pause between two tries; 0: 1,000 */
    size_t queue_max;   /* without a reply; 0: 10,000, subscribers 200,000 */
    size_t output_max;  /* bytes not yet written; 0: 64 MiB */
    bool subscriber;    /* pub/sub mode: only redis_subscribe/unsubscribe */
    bool sentinel;      /* the server is a sentinel: no INFO is asked for */
};

/* News for the owner. Any may be NULL. Called from the loop, never from inside a call of
 * the owner's. on_down comes for every try that failed and for every READY that ended;
 * `why` is borrowed words without secrets. */
struct redis_events {
    void (*on_ready)(struct redis *r, void *arg);
    void (*on_down)(struct redis *r, const char *why, void *arg);
    void (*on_subscribed)(struct redis *r, const char *channel, size_t len, void *arg);
    void (*on_message)(struct redis *r, const char *channel, size_t channel_len,
                       const char *data, size_t len, void *arg);
    /* after all messages of one read of the socket were given out */
    void (*on_batch_end)(struct redis *r, void *arg);
    /* Redis refuses this subscription (NOPERM …). NULL: the connection is dropped. */
    void (*on_refused)(struct redis *r, const char *channel, size_t len, const char *why,
                       void *arg);
};

/* What happened since redis_new. */
struct redis_counters {
    uint64_t ready, reconnects;  /* times it became READY; the same without the first */
    uint64_t failed, lost;       /* tries that did not get READY; READY ones that ended */
    uint64_t timeouts, protocol; /* those of them for silence; for what is not RESP */
    uint64_t commands, messages; /* sent; received by pub/sub */
    uint64_t refused;            /* commands that a limit turned away */
};

struct redis *redis_new(struct loop *l, const struct redis_options *o,
                        const struct redis_events *events, void *arg);
/* Ends it, from anywhere, its own callbacks included: callbacks of waiting commands get
 * NULL before this returns, then nothing is called any more (no on_down either). */
void redis_free(struct redis *r);
enum redis_state redis_state(const struct redis *r);
const char *redis_run_id(const struct redis *r);  /* 40 hex digits while READY, else "" */
const char *redis_version(const struct redis *r); /* "7.0.15" */
size_t redis_queued(const struct redis *r);       /* commands without a reply */
int64_t redis_heard_ms(const struct redis *r);    /* when bytes last came; 0: not READY */
uint64_t redis_reconnects(const struct redis *r);
const struct redis_counters *redis_counters(const struct redis *r);
/* Within on_down: the error that Redis met us with, like "NOAUTH …"; NULL: there was
 * none. */
const char *redis_refusal(const struct redis *r);
/* Gives the connection up as lost (a watchdog of the owner's found it dead): not READY
 * at once, on_down soon, from the loop. */
void redis_drop(struct redis *r, const char *why);

typedef void redis_reply_fn(struct redis *r, const struct redis_reply *reply, void *arg);

/* Sends one command. false: not READY, or a limit was met; `fn` is then not called.
 * Otherwise `fn` (or NULL: nobody asks) is called exactly once, from the loop. Strings
 * are copied into the output. */
bool redis_send(struct redis *r, redis_reply_fn *fn, void *arg, int argc,
                const char *const *argv, const size_t *lens);
/* The same for NUL-terminated strings: redis_sendv(r, fn, arg, "GET", key, NULL). */
bool redis_sendv(struct redis *r, redis_reply_fn *fn, void *arg, ...)
    __attribute__((sentinel));

/* Subscriber connections; false when not READY. After a reconnect nothing is subscribed:
 * the owner does it again in on_ready. */
bool redis_subscribe(struct redis *r, const char *channel, size_t len);
bool redis_unsubscribe(struct redis *r, const char *channel, size_t len);

bool redis_is_error(const struct redis_reply *reply, const char *code); /* "NOSCRIPT" */

#endif
