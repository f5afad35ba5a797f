/* auth: who is asking. Tokens (JWT), the session cookie that holds one, tickets. Decides
 * identity only; access.h decides about threads. Never logs a token. */
#ifndef THREADCAST_AUTH_H
#define THREADCAST_AUTH_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth;
struct bridge_conf;
struct keyset;
struct request;
struct span;

#define SUB_MAX 256 /* bytes of a subject */

/* Counted, immutable once made. */
struct identity {
    int refs;
    bool everything;      /* --auth none: every thread may be read and written */
    bool ticket;          /* reads the threads in `read` and nothing else */
    int64_t expires_ms;   /* wall clock; INT64_MAX: never (--auth none) */
    int64_t life_ms;      /* from iat (or first sight) to exp */
    int64_t end_ms;       /* of a ticket: until then its stream is given new ones */
    int64_t issued_ms;    /* for revocations: when; -1: nobody said */
    int64_t by_issued_ms; /* the same of `by` */
    bool foreign;         /* the --authorize-url's word, no token of ours */
    bool may_revoke;      /* POST /v1/revoke */
    bool may_ticket;      /* tickets for others */
    bool may_probe;       /* what the bridge makes of its requests (/v1/probe) */
    char **read, **write; /* grants: ids or prefixes ending in '*'; NULL-terminated;
                             NULL: no claim (ownership decides) */
    char **owned; /* of a ticket: threads that it reads as long as `sub` owns them */
    char *jti;    /* of the token it came from; NULL: none */
    char *by;     /* of a ticket for somebody else: the service that made it; or NULL */
    char sub[];
};
struct identity *identity_ref(struct identity *id);
void identity_unref(struct identity *id);
bool identity_reads(const struct identity *id, const char *thread_id);  /* by grant */
bool identity_writes(const struct identity *id, const char *thread_id); /* by grant */
/* May ownership in Postgres open this thread for it? Of tickets only what they name. */
bool identity_may_own(const struct identity *id, const char *thread_id);

/* Reads keys as the configuration says; makes the demo's key file (0600, exclusive).
 * NULL: `err` says why the bridge must not start. */
struct auth *auth_new(const struct bridge_conf *conf, struct buf *err);
/* One for another reactor, with the same keys. Returns new, or NULL. */
struct auth *auth_copy(const struct auth *a);
void auth_free(struct auth *a);

/* The keys that it checks with; NULL: --auth none. Borrows, returns borrowed. */
struct keyset *auth_keys(const struct auth *a);
void auth_take_keys(struct auth *a, struct keyset *keys); /* takes */
/* false: an issuer's keys are wanted, and none has come yet. */
bool auth_ready(const struct auth *a);

enum auth_result {
    AUTH_OK,
    AUTH_MISSING,
    AUTH_REFUSED,
    AUTH_UNSURE,  /* an issuer's keys are not here, or have not the one that was named */
    AUTH_UNKNOWN, /* it cannot be said now: a transient refusal */
};

/* Finds and verifies what the request carries: Authorization, cookie, ?ticket=,
 * ?token= where allowed. AUTH_OK: *ret is a new reference. AUTH_REFUSED: *ret_why is a
 * stable word ("expired", "signature", "revoked", …). */
enum auth_result auth_identify(struct auth *a, const struct request *r,
                               struct identity **ret, const char **ret_why);

/* Identifies or answers 401 itself (WWW-Authenticate: Bearer). true: r->identity is
 * set. A ticket is refused (401) unless `tickets`. Of whom nobody can be sure yet, the
 * request waits for keys (keywait.h) and its route is called once more. */
bool auth_require(struct request *r, bool tickets);
/* The 401 for what auth_identify said; for AUTH_UNKNOWN `busy` or 503. */
void auth_refuse(struct request *r, enum auth_result result, const char *why);

/* The token of `Authorization: Bearer <token>`. 0: no such header, 1: found, -1: there is
 * one, but it is no bearer token. Borrows. */
int auth_bearer(const struct request *r, struct span *ret);

/* Signs a ticket, appended to out. false: too many threads, or no memory. */
struct ticket;
bool auth_ticket(const struct auth *a, const struct ticket *t, struct buf *out);
/* The next ticket of a stream whose own ends soon, appended to out; *ret is who it makes.
 * false: what it came from ends with it, or no memory. */
bool auth_ticket_renew(const struct auth *a, const struct identity *id, int64_t now_ms,
                       int64_t max_ms, struct buf *out, struct identity **ret);
/* Signs and checks what one bridge tells another about a request (extension.c). */
bool auth_sign(const struct auth *a, const char *text, size_t len, struct buf *out);
bool auth_signed(const struct auth *a, const char *text, size_t len,
                 const unsigned char *mac, size_t mac_len);
/* A token for a guest of the demonstration, appended to out. */
bool auth_guest(const struct auth *a, const char *sub, int64_t now_ms, int64_t expires_ms,
                struct buf *out);

#endif
