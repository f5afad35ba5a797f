/* identity: how an identity (auth.h) is made. Only what verifies a token or a ticket
 * makes one, and the unit tests. */
#ifndef THREADCAST_IDENTITY_H
#define THREADCAST_IDENTITY_H

#include "bridge/auth.h"

#include <jansson.h>

#define GRANTS_MAX 256 /* entries of one list */

/* 1..SUB_MAX bytes of UTF-8 without control characters */
bool sub_valid(const char *sub, size_t len);

/* Returns new with one reference; NULL: an invalid subject or no memory. */
struct identity *identity_new(const char *sub, size_t len, int64_t expires_ms,
                              int64_t life_ms);

/* Of `jti` and `by`: an optional string that could be a subject's. Returns new in *ret,
 * which stays NULL when there is none. */
bool identity_name(const json_t *value, char **ret);

/* A list of grants from a JSON array of strings: thread ids, and where `prefixes` also
 * beginnings of such with one '*' at the end. Everything else is refused. Returns new in
 * *ret, which must be NULL before: one block, the texts behind the pointers. */
bool grants_parse(const json_t *array, bool prefixes, char ***ret);
void grants_free(char **list);

#endif
