/* A key, the rules of a bridge that has it, and the word for a token. */
#ifndef THREADCAST_TEST_VERDICT_H
#define THREADCAST_TEST_VERDICT_H

#include "bridge/jwt.h"
#include "common/memory.h"
#include "test_tokens.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct key *secret;
static struct keyset *keys;
static struct jwt_rules rules;

static int setup(void **state)
{
    struct buf err;
    (void)state;
    memory_watch();
    buf_init(&err);
    secret = key_from_secret(TEST_SECRET, strlen(TEST_SECRET), &err);
    keys = secret ? keyset_of(secret) : NULL;
    rules = (struct jwt_rules){.keys = keys};
    buf_fini(&err);
    return keys ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    keyset_unref(keys);
    key_free(secret);
    return 0;
}

/* The word for a token: "" when it is accepted. */
static const char *verdict_of(const char *token, size_t len, int64_t now)
{
    struct identity *id = NULL;
    const char *why = "unset";
    /* in memory of its own, so that a read past its end is seen */
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, token, len);
    bool ok = jwt_verify(&rules, copy, len, now, &id, &why);
    torture_verdict_why(ok, why == JWT_NO_MEMORY);
    free(copy);
    assert_int_equal(ok, id != NULL);
    identity_unref(id);
    return ok ? "" : why;
}

static const char *verdict_at(const char *header, const char *payload, int64_t now)
{
    struct buf b;
    buf_init(&b);
    token_text(&b, secret, header, payload);
    assert_false(b.failed);
    const char *why = verdict_of(b.data, b.len, now);
    buf_fini(&b);
    return why;
}

static const char *verdict(const char *header, const char *payload)
{
    return verdict_at(header, payload, TEST_NOW_MS);
}

/* The same with this key (taken) in place of the secret. */
static inline const char *verdict_by(struct key *key, const char *token, size_t len,
                                     int64_t now)
{
    struct keyset *set = keyset_of(key);
    assert_non_null(set);
    rules.keys = set;
    const char *why = verdict_of(token, len, now);
    rules.keys = keys;
    keyset_unref(set);
    key_free(key);
    return why;
}

#define assert_claims(payload_, why_)                                                    \
    assert_string_equal(verdict(HS256_HEADER, payload_), why_)

#endif
