/* resolve: a host name becomes addresses, by evdns and never by a call that blocks.
 * Numeric addresses need no name server; /etc/hosts is read by evdns itself. */
#ifndef THREADCAST_RESOLVE_H
#define THREADCAST_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define RESOLVE_MAX 8 /* addresses of one name that are looked at */

struct loop;
struct resolve;

struct resolve_address {
    struct sockaddr_storage addr;
    socklen_t len;
};

/* count is 0 when it failed; `why` is then a borrowed text. */
typedef void resolve_fn(const struct resolve_address *addresses, size_t count,
                        const char *why, void *arg);

/* Returns new, or NULL without memory. `fn` is called once, from the loop and never from
 * inside this call; the request is gone when `fn` is called. */
struct resolve *resolve_start(struct loop *l, const char *host, int port, resolve_fn *fn,
                              void *arg);
void resolve_cancel(struct resolve *q); /* `fn` is then not called; NULL is fine */

bool resolve_numeric(const char *host, int port, struct resolve_address *ret_address);
/* "127.0.0.1:6379", "[::1]:6379", "/run/redis.sock" */
#define RESOLVE_TEXT_SIZE 128
void resolve_text(const struct resolve_address *a, bool with_port,
                  char out[RESOLVE_TEXT_SIZE]);

#endif
