/* memory: "it failed" of a library, told apart from "it is not so". OpenSSL and jansson
 * say no more than no when one of their allocations fails, which would read like a bad
 * signature or a bad claim. Here they are overheard, and what asks them can ask why. */
#ifndef THREADCAST_MEMORY_H
#define THREADCAST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Once, before anything of either library was used. false: OpenSSL was; what fails in it
 * is a refusal then. */
bool memory_watch(void);

/* From here on, in this thread. */
void memory_begin(void);
/* Has an allocation of theirs, or one of those below, failed since? */
bool memory_short(void);

/* calloc and strdup that are heard too. */
void *memory_calloc(size_t count, size_t size);
char *memory_copy(const char *text);

#endif
