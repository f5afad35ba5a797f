/* json: a parse that has no memory is left at that very allocation, by a jump over
 * jansson's functions, and what it had allocated until then is freed. They hold no lock
 * and no state besides. Blocks have no header of ours: a tree outlives its parse, and
 * what json_dumps returns is given to free(). */
#include "common/json.h"

#include "common/buf.h"
#include "common/memory.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_INLINE = 64 };

struct parse {
    void **blocks; /* allocated by this parse, not yet freed; the newest is the last */
    size_t count, size;
    bool failed;
    jmp_buf no_memory;
    void *few[BLOCKS_INLINE];
};

static _Thread_local struct parse
    *parsing; /* NULL: none; jansson has no argument for it */

static bool note(struct parse *p, void *block)
{
    if (p->count == p->size) {
        void **more = memory_calloc(p->size, 2 * sizeof(*more));
        if (!more)
            return false;
        memcpy(more, p->blocks, p->count * sizeof(*more));
        if (p->blocks != p->few)
            free(p->blocks);
        p->blocks = more;
        p->size *= 2;
    }
    p->blocks[p->count++] = block;
    return true;
}

static void *json_alloc(size_t size)
{
    void *block = memory_heard(malloc(size));

    if (parsing && (!block || !note(parsing, block))) {
        free(block);
        parsing->failed = true;
        longjmp(parsing->no_memory, 1);
    }
    return block;
}

static void json_dealloc(void *block)
{
    struct parse *p = parsing;

    for (size_t i = p && block ? p->count : 0; i-- > 0;) {
        if (p->blocks[i] != block)
            continue;
        memmove(&p->blocks[i], &p->blocks[i + 1],
                (p->count - i - 1) * sizeof(*p->blocks));
        p->count--;
        break;
    }
    free(block);
}

__attribute__((constructor)) static void json_init(void)
{
    json_set_alloc_funcs(json_alloc, json_dealloc);
}

/* In a function of its own: nothing that setjmp's caller changes is looked at behind it.
 */
static json_t *parse_in(struct parse *p, const char *text, size_t len, size_t flags,
                        json_error_t *why)
{
    json_t *value = NULL;

    parsing = p;
    if (setjmp(p->no_memory) == 0)
        value = json_loadb(text, len, flags, why);
    parsing = NULL;
    return value;
}

json_t *json_read(const char *text, size_t len, size_t flags, enum json_trouble *ret)
{
    json_error_t why;

    return json_read_file(text, len, flags, &why, ret);
}

json_t *json_read_file(const char *text, size_t len, size_t flags, json_error_t *ret_why,
                       enum json_trouble *ret)
{
    struct parse p = {.size = BLOCKS_INLINE};
    json_t *value = NULL;
    enum json_trouble trouble = JSON_MALFORMED;

    *ret_why = (json_error_t){0};
    p.blocks = p.few;
    if (text && len)
        value = parse_in(&p, text, len, flags, ret_why);
    if (value)
        trouble = JSON_FINE;
    else if (p.failed)
        trouble = JSON_NO_MEMORY;
    for (size_t i = 0; !value && i < p.count; i++)
        free(p.blocks[i]);
    if (p.blocks != p.few)
        free(p.blocks);
    if (ret)
        *ret = trouble;
    return value;
}

static int add_text(const char *text, size_t len, void *arg)
{
    struct buf *b = arg;

    buf_add(b, text, len);
    return b->failed ? -1 : 0;
}

char *json_text(const json_t *json, size_t flags)
{
    struct buf b;

    buf_init(&b);
    if (json_dump_callback(json, add_text, &b, flags) == 0)
        buf_char(&b, '\0');
    if (b.len && !b.failed && b.data[b.len - 1] == '\0')
        return b.data;
    buf_fini(&b);
    return NULL;
}
