/* keyset: the keys that tokens are checked with at one moment: those of the configuration
 * and those that an issuer publishes. Immutable once it is in use, counted across
 * threads: every reactor holds its own reference and looks at no lock.
 *
 *   keyset_new ─▶ keyset_add …  ─▶ in use: keyset_find, keyset_ref, keyset_unref */
#ifndef THREADCAST_KEYSET_H
#define THREADCAST_KEYSET_H

#include <stdbool.h>
#include <stddef.h>

struct key;
struct keyset;

#define KEYSET_OWN_MAX 16    /* keys of the configuration, of each kind */
#define KEYSET_ISSUED 64     /* an issuer's, unless keyset_limit_issued says another */
#define KID_MAX 256          /* bytes of a key's name */
#define KEYSET_UNNAMED_MAX 4 /* issued keys that are tried on a token without `kid` */

struct keyset *keyset_new(void); /* returns new, or NULL */
struct keyset *keyset_ref(struct keyset *s);
void keyset_unref(struct keyset *s); /* from any thread; NULL is fine */

/* How many of an issuer's keys it takes. */
void keyset_limit_issued(struct keyset *s, size_t max);
/* All three share `key`. false: no room or no memory, nothing changed. */
bool keyset_add_own(struct keyset *s, struct key *key);
/* `kid` may be NULL: the issuer gave none. */
bool keyset_add_issued(struct keyset *s, const char *kid, struct key *key);
bool keyset_add_ticket(struct keyset *s, struct key *key); /* the first signs */
/* The other's, besides what is there. */
bool keyset_copy_own(struct keyset *s, const struct keyset *from);
bool keyset_copy_tickets(struct keyset *s, const struct keyset *from);
bool keyset_copy_issued(struct keyset *s, const struct keyset *from);

size_t keyset_own(const struct keyset *s);    /* how many */
size_t keyset_issued(const struct keyset *s); /* how many */
bool keyset_issued_full(const struct keyset *s);
/* The first own HS256 key, which signs guests and development tokens; or NULL. Borrows.
 */
const struct key *keyset_signer(const struct keyset *s);
const struct key *keyset_ticket(const struct keyset *s, size_t i); /* NULL: no more */
/* Does an issued key have this name? */
bool keyset_knows(const struct keyset *s, const char *kid);
/* The issued key of exactly this name (NULL: none) and algorithm, or NULL. Borrows. */
struct key *keyset_issued_get(const struct keyset *s, const char *kid, const char *alg);

/* The keys that a token of this header may be signed with, one a call from *pos = 0 on;
 * NULL: no more. The algorithm must be the key's; an own key has no name and fits any, an
 * issued one is chosen by `kid`, and the first few of them are when the token has none.
 */
const struct key *keyset_find(const struct keyset *s, const char *alg, const char *kid,
                              size_t *pos);

#endif
