/* memory: a mark of this thread's, set by allocators that do nothing else. */
#include "common/memory.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool failed;

void *memory_heard(void *p)
{
    if (!p)
        failed = true;
    return p;
}

/* As OpenSSL's own: nothing of no bytes, which is no failure. */
static void *crypto_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return size ? memory_heard(malloc(size)) : NULL;
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    if (size)
        return memory_heard(realloc(p, size));
    free(p);
    return NULL;
}

bool memory_watch(void)
{
    return CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1;
}

void memory_begin(void)
{
    failed = false;
}

bool memory_short(void)
{
    return failed;
}

void *memory_calloc(size_t count, size_t size)
{
    return memory_heard(calloc(count, size));
}

char *memory_copy(const char *text)
{
    return memory_heard(strdup(text));
}
