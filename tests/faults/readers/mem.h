/* mem: memory or the end: what a test's tool may do, and the daemons may not. */
#ifndef FARM_MEM_H
#define FARM_MEM_H

#include <stdio.h>
#include <stdlib.h>

static inline void *mem_some(void *memory)
{
    if (!memory) {
        fputs("faults-readers: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static inline void *mem_zero(size_t size)
{
    return mem_some(calloc(1, size));
}

static inline void *mem_more(void *memory, size_t count, size_t size)
{
    return mem_some(reallocarray(memory, count, size));
}

#endif
