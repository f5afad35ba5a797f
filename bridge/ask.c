/* ask: see ask.h. A refusal is said in one place, so that no route says more. */
#include "bridge/ask.h"

#include "bridge/bridge.h"
#include "bridge/request.h"
#include "common/log.h"
#include "common/pg.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One question; holds a reference to the request. */
struct ask {
    struct request *r;
    union {
        ask_pg_fn *pg;
        ask_access_fn *access;
        ask_cursor_fn *cursor;
    } fn;
};

static struct ask *ask_new(struct request *r)
{
    struct ask *a = calloc(1, sizeof *a);

    if (!a) {
        request_error(r, 503, "unavailable", "Out of memory, try again.");
        return NULL;
    }
    a->r = request_ref(r);
    return a;
}

static void ask_free(struct ask *a)
{
    request_unref(a->r);
    free(a);
}

/* --- Postgres ----------------------------------------------------------------------- */

static void pg_silent(struct request *r)
{
    r->bridge->stats.pg_down++;
    request_error(r, 503, "unavailable", "The database does not answer, try again.");
}

/* By the class of the SQLSTATE: whose fault it is. */
static void pg_refused(struct request *r, const struct pg_error *err)
{
    static const char *const passing[] = {"08", "25", "40", "53", "55", "57", "58"};

    r->bridge->stats.pg_errors++;
    log_warn("statement refused", LOG_S("sqlstate", err->sqlstate),
             LOG_S("message", err->message));
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (strncmp(err->sqlstate, passing[i], 2) == 0) {
            request_error(r, 503, "unavailable",
                          "The database cannot do that now, try again.");
            return;
        }
    }
    if (strncmp(err->sqlstate, "22", 2) == 0 || strncmp(err->sqlstate, "23", 2) == 0)
        request_error(r, 400, "bad_value", "The database refuses a value.");
    else
        request_error(r, 500, "internal", "The database refused the statement.");
}

static void on_pg(enum pg_outcome outcome, const struct pg_result *res,
                  const struct pg_error *err, void *arg)
{
    struct ask *a = arg;

    switch (outcome) {
    case PG_OK:
        a->fn.pg(a->r, res);
        break;
    case PG_FAILED:
        pg_refused(a->r, err);
        break;
    case PG_LOST:
    case PG_UNSENT:
        pg_silent(a->r);
        break;
    }
    ask_free(a);
}

void ask_pg(struct request *r, const char *sql, int nparams, const char *const *params,
            ask_pg_fn *fn)
{
    struct ask *a = ask_new(r);

    if (!a)
        return;
    a->fn.pg = fn;
    if (!pg_pool_query(r->bridge->pg, sql, nparams, params,
                       r->bridge->conf->upstream_timeout_ms, on_pg, a)) {
        pg_silent(r);
        ask_free(a);
    }
}

/* --- access ------------------------------------------------------------------------- */

void ask_forbidden(struct request *r)
{
    request_error(r, 403, "forbidden", "There is no such thing, or it is not yours.");
}

static void on_access(enum access_result result, void *arg)
{
    struct ask *a = arg;

    switch (result) {
    case ACCESS_GRANTED:
    case ACCESS_OWNER:
        a->fn.access(a->r);
        break;
    case ACCESS_DENIED:
        ask_forbidden(a->r);
        break;
    case ACCESS_UNKNOWN:
        pg_silent(a->r);
        break;
    }
    ask_free(a);
}

void ask_access(struct request *r, enum access_kind kind, ask_access_fn *fn)
{
    struct ask *a = ask_new(r);

    if (!a)
        return;
    a->fn.access = fn;
    access_check(r->bridge, r->identity, r->param, kind, on_access, a);
}

/* --- cursor ------------------------------------------------------------------------- */

static void on_cursor(const struct thread_cursor *cursor, void *arg)
{
    struct ask *a = arg;

    a->fn.cursor(a->r, cursor);
    ask_free(a);
}

void ask_cursor(struct request *r, const char *thread_id, ask_cursor_fn *fn)
{
    struct ask *a = ask_new(r);

    if (!a)
        return;
    a->fn.cursor = fn;
    reader_cursor(r->bridge->reader, thread_id, on_cursor, a);
}

void cursor_text(const struct thread_cursor *cursor, char out[EVENT_ID_SIZE])
{
    if (!cursor->ok || event_id_zero(cursor->run))
        memcpy(out, "0", 2);
    else
        event_id_format(&cursor->run, out);
}

/* --- what a request carries -----------------------------------------------------------
 */

int ask_key(struct request *r, char out[KEY_MAX + 1])
{
    struct span key = http_header(&r->http, "idempotency-key");
    bool good = key.len >= 1 && key.len <= KEY_MAX;

    out[0] = 0;
    if (!key.at)
        return 0;
    for (size_t i = 0; good && i < key.len; i++)
        good = key.at[i] > ' ' && key.at[i] < 0x7f;
    if (!good) {
        request_error(r, 400, "bad_idempotency_key",
                      "An Idempotency-Key is 1 to 255 visible ASCII characters.");
        return -1;
    }
    memcpy(out, key.at, key.len);
    out[key.len] = 0;
    return 1;
}

bool ask_page(struct request *r, int *ret_limit, char before[BEFORE_SIZE])
{
    char text[8] = "", *end = text;
    int found = http_query_get(r->http.query, "limit", text, sizeof text);
    long limit = 50;

    if (found == 1)
        limit = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;
    if (found < 0 || *end || limit < 1 || limit > 200) {
        request_error(r, 400, "bad_limit", "`limit` is a number from 1 to 200.");
        return false;
    }
    before[0] = 0;
    if (http_query_get(r->http.query, "before", before, BEFORE_SIZE) < 0) {
        request_error(r, 400, "bad_before", "`before` is malformed.");
        return false;
    }
    *ret_limit = (int)limit;
    return true;
}

bool hash_hex(const char *a, size_t a_len, const char *b, size_t b_len,
              char out[HASH_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) &&
              EVP_DigestUpdate(md, a, a_len) && EVP_DigestUpdate(md, "", 1) &&
              EVP_DigestUpdate(md, b, b_len) && EVP_DigestFinal_ex(md, digest, NULL);

    EVP_MD_CTX_free(md);
    for (int i = 0; ok && i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return ok;
}
