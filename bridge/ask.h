/* ask: the waits that several routes share. Each holds the request while it waits and
 * answers it itself when the answer is no, or none. */
#ifndef THREADCAST_ASK_H
#define THREADCAST_ASK_H

#include "bridge/access.h"
#include "bridge/reader.h"

struct pg_result;
struct request;

/* One statement of the pool's. `fn` is called only for what Postgres carried out; else
 * 503 (away, silent, overloaded), 400 (a value it refuses) or 500 is answered. Copies
 * `params`. */
typedef void ask_pg_fn(struct request *r, const struct pg_result *res);
void ask_pg(struct request *r, const char *sql, int nparams, const char *const *params,
            ask_pg_fn *fn);

/* r->param's thread and r->identity. `fn` only when it may; else 403 or 503. */
typedef void ask_access_fn(struct request *r);
void ask_access(struct request *r, enum access_kind kind, ask_access_fn *fn);

/* The cursor of a thread; `fn` always. */
typedef void ask_cursor_fn(struct request *r, const struct thread_cursor *cursor);
void ask_cursor(struct request *r, const char *thread_id, ask_cursor_fn *fn);
/* "<epoch>-<n>" of where to begin, "0" when there is nothing or Redis did not answer */
void cursor_text(const struct thread_cursor *cursor, char out[EVENT_ID_SIZE]);

/* 403: somebody else's and none look the same. */
void ask_forbidden(struct request *r);

/* The Idempotency-Key: 1 to 255 visible ASCII characters. 0: none, 1: in out, -1: bad,
 * and answered. */
#define KEY_MAX 255
int ask_key(struct request *r, char out[KEY_MAX + 1]);

/* `limit` (1 to 200, default 50) and `before` ("" when absent; its form is the route's).
 * false: answered. */
#define BEFORE_SIZE 160
bool ask_page(struct request *r, int *ret_limit, char before[BEFORE_SIZE]);

/* 64 hex digits of SHA-256 over both pieces with a NUL between. */
#define HASH_SIZE 65
bool hash_hex(const char *a, size_t a_len, const char *b, size_t b_len,
              char out[HASH_SIZE]);

#endif
