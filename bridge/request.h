/* request: one HTTP request while it is answered. A route gets it, may wait for Redis or
 * Postgres holding a reference, and answers it once. When the client leaves meanwhile,
 * `conn` is NULL and answering is harmless. */
#ifndef THREADCAST_REQUEST_H
#define THREADCAST_REQUEST_H

#include "bridge/authorized.h"
#include "bridge/http.h"
#include "common/buf.h"
#include "common/names.h"
#include "common/trace.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct bridge;
struct conn;
struct identity;

/* Has it waited for an issuer's keys, and did they come? */
enum request_keys { KEYS_UNASKED, KEYS_FRESH, KEYS_FAILED };

struct request {
    struct bridge *bridge;
    struct conn *conn; /* NULL: the client has gone */
    struct http_request http;
    char *head; /* owns the bytes that `http` points into */
    size_t head_len;
    const char *body; /* owned; NUL-terminated */
    size_t body_len;
    char param[THREAD_ID_MAX + 1]; /* the <id> of the path, decoded; "" when none */
    struct identity *identity;     /* owned reference; NULL before auth */
    struct trace trace;            /* what the logs and its run are to be found by */
    struct buf extra;              /* further response header lines, each with CRLF */
    int refs;
    bool answered;
    void *state; /* of the route, freed with the request */
    void (*state_free)(void *state);
    /* Set for streams: their transient refusal. NULL: 503. `why` is a literal. */
    void (*busy)(struct request *r, const char *why);
    bool overloaded; /* one connection too many: only a stream may still take it over */
    bool scarce;     /* not even that: few descriptors are left */
    bool admin;      /* came in at --admin-listen */
    bool moved;      /* its connection came from another reactor, for a stream alone */
    bool placed;     /* and counts as a reader to be, at `place` in b->gather */
    uint32_t place;
    bool anyone; /* what is answered is public: any origin may have it */
    bool stream; /* a transient refusal is `busy`, not 503 */
    enum request_keys keys;
    void (*wait)(struct request *r);  /* when nobody can say yet who asks; may be NULL */
    void (*again)(struct request *r); /* after that: its route from the beginning */
    /* Asks --authorize-url; NULL: there is none. true: `authorized` says it, else `again`
     * is called when it does. */
    bool (*authorize)(struct request *r);
    enum authorize_state authorized;
    struct identity *authorized_as; /* owned reference; of AUTHORIZE_YES */
};

/* For conn.c: returns new, or NULL. */
struct request *request_new(struct bridge *b, struct conn *c);

struct request *request_ref(struct request *r);
void request_unref(struct request *r); /* the last one frees */

/* Its id: the one that came along, or a new one; the answer carries it, once. Before
 * anything else. */
void request_trace(struct request *r);

/* Adds a response header; name and value must not hold CR or LF (checked: then dropped
 * and logged). Only before the answer. */
void request_header(struct request *r, const char *name, const char *value);

/* The answer, exactly once; a second one is ignored and logged. Copies. HEAD sends no
 * body. CORS headers and `X-Content-Type-Options: nosniff`, `Cache-Control: no-store`
 * (unless set by request_header) are put in here, in one place. */
void request_reply(struct request *r, int status, const char *content_type,
                   const void *body, size_t len);
void request_json(struct request *r, int status, json_t *value); /* takes value */
/* The same for JSON that is text already. Copies. */
void request_text(struct request *r, int status, const char *json, size_t len);
/* {"error":{"code":…,"message":…}}; 503 carries Retry-After: 1 */
void request_error(struct request *r, int status, const char *code, const char *message);

/* The body as a JSON object: right Content-Type (else answers 415), valid (else 400),
 * depth and duplicates checked, no NUL. NULL: already answered. Returns new. */
json_t *request_body_object(struct request *r);
/* The same for object or array; `flags` of jansson's besides JSON_REJECT_DUPLICATES. */
json_t *request_body_parse(struct request *r, size_t flags);

/* The client's address, behind trusted proxies the forwarded one. */
const char *request_address(struct request *r, char out[64]);

#endif
