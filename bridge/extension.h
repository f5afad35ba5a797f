/* extension: a fresh token for a stream that is open, wherever it lives: another reactor
 * of this process, or another bridge. */
#ifndef THREADCAST_EXTENSION_H
#define THREADCAST_EXTENSION_H

#include "bridge/renew.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth;
struct bridge;
struct identity;

#define EXTENSION_MAX 12288 /* bytes of its text */

/* The text is <base64url of JSON>.<base64url of HMAC-SHA256 over what stands before the
 * dot>, with a key of the bridges' own: it is neither a token nor a ticket. */
bool extension_make(const struct auth *a, const char *connection,
                    const struct identity *id, struct buf *out);
/* false: not ours, or over. *ret is new. */
bool extension_read(const struct auth *a, const char *text, size_t len, int64_t now_ms,
                    char ret_connection[CONNECTION_SIZE], struct identity **ret);

/* What renew.c makes. */
bool connection_valid(const char *text, size_t len);
/* Is it one of this process's streams? */
bool connection_here(const struct bridge *b, const char *connection);

enum extend_outcome {
    EXTEND_NONE, /* no such stream, or not theirs */
    EXTEND_DONE,
    EXTEND_DENIED,  /* the new token does not read all of its threads */
    EXTEND_UNKNOWN, /* Postgres did not say */
};
struct extend_answer {
    enum extend_outcome outcome;
    int64_t until_ms;
};
typedef void extend_fn(const struct extend_answer *answer, void *arg);

/* Asks the reactors of this process; `fn` once, or NULL. false: no memory, or too long.
 */
bool extension_ask(struct bridge *b, const char *text, size_t len, extend_fn *fn,
                   void *arg);
/* Tells the other bridges; nobody answers, but the stream says `auth`. false: Redis is
 * away. */
bool extension_tell(struct bridge *b, const char *text);
/* What another bridge told. */
void extension_hear(struct bridge *b, const char *data, size_t len);

#endif
