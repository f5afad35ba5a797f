/* keyring: keeps the keys of the process up to date: fetches those that an issuer
 * publishes (JWT_JWKS_URL), reads the configured ones again on SIGHUP, and hands every
 * reactor the new set. Number 0's alone. */
#ifndef THREADCAST_KEYRING_H
#define THREADCAST_KEYRING_H

#include "common/buf.h"

#include <stdint.h>

struct bridge;
struct keyring;

/* Begins with the keys of b->auth; asks the issuer, if there is one, as soon as the loop
 * turns. Returns new, or NULL with `err`. */
struct keyring *keyring_new(struct bridge *b, struct buf *err);
void keyring_close(struct keyring *k); /* asks nobody any more; NULL is fine */
void keyring_free(struct keyring *k);  /* NULL is fine */

/* Somebody shows a token whose key is not there. 0: the issuer is being asked, and every
 * reactor hears when that is over; else the milliseconds until it may be asked. */
int64_t keyring_want(struct keyring *k);

/* SIGHUP: reads the files of keys again, and asks the issuer. What is not good changes
 * nothing. */
void keyring_reload(struct keyring *k);

/* Brings the gauges in b->stats up to date. */
void keyring_note(const struct keyring *k);

#endif
