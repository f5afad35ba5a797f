/* gather: the readers of a thread meet in one reactor while they are few, its home: so
 * Redis sends an event once, and it is checked, kept and replayed once. A crowd stays
 * where the kernel has put it: there the writes are the work, and those are shared.
 *
 * Counted by a keyed hash of the thread's id, in a table of fixed size: where many
 * threads meet in one place, it is full sooner, and their readers stay. */
#ifndef THREADCAST_GATHER_H
#define THREADCAST_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gather;

/* most: readers of a thread; 0: none are gathered. Returns new, or NULL. */
struct gather *gather_new(size_t reactors, int64_t most);
void gather_free(struct gather *g); /* NULL is fine */

/* A thread's place in the table; also names its home. All from any thread. */
uint32_t gather_place(const struct gather *g, const char *thread_id, size_t len);
size_t gather_home(const struct gather *g, uint32_t place); /* number of a reactor */
/* One reader more at its home; false: there are enough. */
bool gather_admit(struct gather *g, uint32_t place);
/* A reader came, wherever it is, and left. */
void gather_joined(struct gather *g, uint32_t place);
void gather_left(struct gather *g, uint32_t place);

#endif
