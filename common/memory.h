/* memory: "it failed" of a library, told apart from "it is not so". OpenSSL and jansson
 * say no more than no when one of their allocations fails, which would read like a bad
 * signature or a bad claim. Here they are overheard, and what asks them can ask why. */
#ifndef THREADCAST_MEMORY_H
#define THREADCAST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Once, before anything of OpenSSL was used. false: it was; what fails in it is a refusal
 * then. (jansson's allocators are json.c's, and heard from the start.) */
bool memory_watch(void);

/* From here on, in this thread. */
void memory_begin(void);
/* Has an allocation of theirs, or one of those below, failed since? */
bool memory_short(void);

/* What an allocator has got: NULL is heard. */
void *memory_heard(void *p);
/* calloc and strdup that are heard too. */
void *memory_calloc(size_t count, size_t size);
char *memory_copy(const char *text);

#endif
