/* site: scheme, host and port: what an Origin names, and what we are called by. Pure. */
#ifndef THREADCAST_SITE_H
#define THREADCAST_SITE_H

#include "common/event.h" /* struct span */

#include <stdbool.h>
#include <stddef.h>

#define SITE_SCHEME_SIZE 24
#define SITE_HOST_SIZE 256

struct site {
    char scheme[SITE_SCHEME_SIZE]; /* lower case */
    char host[SITE_HOST_SIZE];     /* lower case; "[::1]" with its brackets */
    unsigned port;                 /* the scheme's own when none was given; 0: unknown */
};

/* `scheme://host[:port]` and nothing else: no path, no user, no `null`, no `*`. */
bool site_parse(struct span text, struct site *ret);
/* A Host header and the scheme it came by. */
bool site_of_host(struct span host, const char *scheme, struct site *ret);
bool site_equal(const struct site *a, const struct site *b);

/* localhost, 127.0.0.1, [::1] */
bool site_loopback(const struct site *s);
/* An IP address, or a name without dots: nobody can own it in the public DNS. */
bool site_local(const struct site *s);

/* Walks a comma separated list, blanks around the items ignored; *pos = 0 at first. Empty
 * items are skipped. `list` may be NULL. */
bool site_list_next(const char *list, size_t *pos, struct span *ret_item);

#endif
