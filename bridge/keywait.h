/* keywait: requests whose token names a key of the issuer's that is not here. They wait,
 * for a short time, while the keys are asked for; so that a new key is no gap for
 * anybody. One for each reactor, with --jwt-jwks-url. */
#ifndef THREADCAST_KEYWAIT_H
#define THREADCAST_KEYWAIT_H

#include <stdbool.h>

struct bridge;
struct keywait;
struct request;

struct keywait *keywait_new(struct bridge *b); /* returns new, or NULL */
void keywait_close(struct keywait *w);         /* lets those who wait go; NULL is fine */
void keywait_free(struct keywait *w);          /* NULL is fine */

/* Holds the request until the keys are here, and calls r->again; or answers it at once
 * with a transient refusal, when it has waited or the issuer may not be asked now. */
void keywait_park(struct request *r);

/* The issuer was asked; `fresh`: and has answered. */
void keywait_over(struct keywait *w, bool fresh);

#endif
