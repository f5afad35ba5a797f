/* revoke: revocations in Redis: kept there for bridges that start later, and told to
 * those that are there. */
#ifndef THREADCAST_REVOKE_H
#define THREADCAST_REVOKE_H

#include <stdbool.h>

struct bridge;
struct revocation;
struct revoker;

/* Keeps b->revoked as Redis has it, and ends streams; number 0's. Returns new, or NULL.
 */
struct revoker *revoker_new(struct bridge *b);
void revoker_free(struct revoker *v); /* NULL is fine */

enum revoke_outcome {
    REVOKE_OK,
    REVOKE_FULL, /* --max-revocations */
    REVOKE_DOWN, /* Redis is away, silent or refuses: nobody knows whether it counts */
};
typedef void revoke_fn(enum revoke_outcome outcome, void *arg);

/* Stores it and tells all bridges, from any reactor. `fn` is called once. Copies. */
void revoke_store(struct bridge *b, const struct revocation *r, revoke_fn *fn, void *arg);

/* Ends the streams, of every reactor, that b->revoked covers by now. false: some could
 * not be asked; the revoker asks again. */
bool revoke_sweep(struct bridge *b);

#endif
