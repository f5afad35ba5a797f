/* transfer: HTTP requests of the doctor's, several at once, and when every piece of their
 * answers came. Only transfer.c sees libcurl. */
#ifndef THREADCAST_CLI_TRANSFER_H
#define THREADCAST_CLI_TRANSFER_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSFER_BODY_MAX                                                                \
    (512u << 10) /* what is kept of a body; more ends the transfer */
#define TRANSFER_ARRIVALS_MAX 4096

enum transfer_end {
    TRANSFER_WHOLE,   /* an answer with an end of its own */
    TRANSFER_CUT,     /* it began, and the connection was lost */
    TRANSFER_TIMEOUT, /* not over within total_ms */
    TRANSFER_NO_NAME,
    TRANSFER_NO_CONNECTION,
    TRANSFER_TLS, /* no secure connection came about */
    TRANSFER_ODD, /* no HTTP, or something else; `why` says it */
};

/* The text up to `bytes` of the body was here after `us`. */
struct arrival {
    int64_t us;
    size_t bytes;
};

struct answer {
    enum transfer_end end;
    char why[256]; /* "" when it is whole */
    int status;    /* 0: none came */
    int http;      /* 10, 11, 20, 30 */
    struct buf head, body;
    struct arrival *arrivals;
    size_t arrival_count;
    int64_t began_wall_ms;
    int64_t connected_us, secured_us, asked_us, first_us, ended_us; /* since it began */
    int64_t certificate_days; /* until it ends; -1: there is none, or it is not known */
};

struct transfer {
    const char *url;
    const char *const *headers; /* "Name: value" */
    size_t header_count;
    bool post;       /* with an empty body */
    bool compressed; /* takes what a browser takes */
    bool insecure;   /* takes any certificate */
    const char *ca_file;
    int64_t connect_ms, total_ms;
    struct answer answer; /* filled in by transfers_run; answer_fini */
};

/* All at once, until the last is over. false: no memory. */
bool transfers_run(struct transfer *const *list, size_t count);
void answer_fini(struct answer *a);

/* The value of the answer's header (any case), cut to `size`; false: there is none. */
bool answer_header(const struct answer *a, const char *name, char *out, size_t size);

/* Where a bridge is said to be. */
struct place {
    char origin[300]; /* "https://chat.example", as a browser writes it */
    char path[512];   /* "/live" or "" */
    bool https;
};
/* Reads an address; what stands from /v1/ on is left away. false: `err` says why. */
bool place_parse(const char *text, struct place *ret, struct buf *err);

#endif
