/* nearest: what somebody who mistyped a name may have meant. */
#ifndef THREADCAST_NEAREST_H
#define THREADCAST_NEAREST_H

#include <stddef.h>

/* Letters to change, insert, remove or swap; NEAREST_FAR when either is too long to ask.
 */
#define NEAREST_FAR ((size_t)-1)
size_t nearest_distance(const char *a, const char *b);

/* The best of the names offered so far. Start with {.name = what was typed}. */
struct nearest {
    const char *name;
    const char *best; /* borrowed; NULL: nothing is near enough */
    size_t distance;
};
void nearest_offer(struct nearest *n, const char *candidate);

#endif
