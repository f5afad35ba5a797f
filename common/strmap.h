/* strmap: string → pointer, open hashing with a seeded hash (names come from peers).
 * Copies keys, or borrows them from the values; borrows values. */
#ifndef THREADCAST_STRMAP_H
#define THREADCAST_STRMAP_H

#include <stdbool.h>
#include <stddef.h>

struct strmap;

struct strmap *strmap_new(void); /* returns new, or NULL */
/* The same for things that hold their own names: a key is borrowed until it is removed.
 */
struct strmap *strmap_new_borrowing(void);
void strmap_free(struct strmap *m);
size_t strmap_count(const struct strmap *m);
void *strmap_get(const struct strmap *m, const char *key, size_t key_len);
/* false: out of memory, nothing changed. An existing key gets the new value. */
bool strmap_set(struct strmap *m, const char *key, size_t key_len, void *value);
void *strmap_remove(struct strmap *m, const char *key, size_t key_len);

/* Walks in no order: start with *pos = 0 until NULL. Between two calls the map must not
 * change, but the item just returned may be removed; else some are missed or come twice.
 * `ret_key` may be NULL. */
void *strmap_next(const struct strmap *m, size_t *pos, const char **ret_key);

#endif
