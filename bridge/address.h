/* address: where we listen, who asks, and which proxies may say so for others. Texts
 * only, no names are resolved. */
#ifndef THREADCAST_ADDRESS_H
#define THREADCAST_ADDRESS_H

#include "common/buf.h"
#include "common/event.h" /* struct span */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define ADDRESS_SIZE 64

/* `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `0.0.0.0:0`. false: `err` says why.
 */
bool address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                   struct buf *err);
/* "127.0.0.1:8080" or "[::1]:8080" */
void address_format(const struct sockaddr *addr, socklen_t len, char out[ADDRESS_SIZE]);
/* "127.0.0.1": without the port; an IPv4 address inside IPv6 as IPv4; "unix" else */
void address_host(const struct sockaddr *addr, socklen_t len, char out[ADDRESS_SIZE]);
bool address_loopback(const struct sockaddr *addr);

/* A list of addresses and CIDR blocks, comma separated: is it well-formed, is `host` in
 * it? An empty or NULL list holds nobody. */
bool address_list_valid(const char *list, struct buf *err);
bool address_listed(const char *list, const char *host);

/* Walks one X-Forwarded-For list from its right end, over each address that a trusted
 * proxy wrote down. false: the walk ends here, and `out` holds the first one that is no
 * proxy of ours (or is as it was, when nothing readable stood there). */
bool address_forwarded(const char *trusted, struct span list, char out[ADDRESS_SIZE]);

#endif
