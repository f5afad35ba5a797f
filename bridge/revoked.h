/* revoked: which subjects and which tokens are refused before their end. One set for the
 * process, read by every reactor when somebody asks; revoke.c fills it from Redis. */
#ifndef THREADCAST_REVOKED_H
#define THREADCAST_REVOKED_H

#include "bridge/auth.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct revoked;

/* One revocation: its name, as the field in Redis is called, and the moment up to which
 * what was issued is refused. */
#define REVOKED_NAME_SIZE (SUB_MAX + 3)
struct revocation {
    char name[REVOKED_NAME_SIZE]; /* "s:<sub>" or "j:<jti>" */
    int64_t before_ms;            /* wall clock */
};
/* false: no name that a subject or a token can have. */
bool revocation_set(struct revocation *r, char kind, const char *text, size_t len,
                    int64_t before_ms);

/* From the body of POST /v1/revoke: {"sub":…, "before"?: seconds} or {"jti":…}. false:
 * *ret_why says what is wrong with it. */
bool revocation_parse(const json_t *body, int64_t now_ms, struct revocation *ret,
                      const char **ret_why);

/* keep_ms: how long one counts, which is how long a token may live. Returns new. */
struct revoked *revoked_new(int64_t keep_ms);
void revoked_free(struct revoked *s); /* NULL is fine */

/* All of these from any thread. */

/* A revocation is never taken back, only moved to a later moment. `round` marks it as
 * seen. */
enum revoked_news { REVOKED_OLD, REVOKED_NEW, REVOKED_NO_MEMORY };
enum revoked_news revoked_add(struct revoked *s, const struct revocation *r,
                              uint64_t round);
/* Is this identity, or the token that it was made from, among them? */
bool revoked_covers(struct revoked *s, const struct identity *id);
/* Drops those that have had their time. */
void revoked_purge(struct revoked *s, int64_t now_ms);
size_t revoked_count(struct revoked *s);
/* Counts what was new, so that nobody misses what another thread has added. */
uint64_t revoked_version(struct revoked *s);
/* Has it been read from Redis once? Before, nobody is let in. */
bool revoked_known(struct revoked *s);
void revoked_set_known(struct revoked *s);
/* One that was not seen in this round, and is from then on; false: there is none. */
bool revoked_missing(struct revoked *s, uint64_t round, struct revocation *ret);

#endif
