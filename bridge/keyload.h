/* keyload: the keys that the configuration gives: JWT_SECRET and those besides it, the
 * public keys, and what tickets are signed with. Read at the start and on SIGHUP. */
#ifndef THREADCAST_KEYLOAD_H
#define THREADCAST_KEYLOAD_H

#include "common/buf.h"

struct bridge_conf;
struct keyset;

/* Makes the demo's key file (0600, exclusive) when it is not there. `before` (may be
 * NULL) is what was read last: a ticket key that only this process has is kept. Returns a
 * new set, or NULL with the reason in `err`. */
struct keyset *keyload(const struct bridge_conf *conf, const struct keyset *before,
                       struct buf *err);

#endif
