/* A table in memory that parent and child share; found by hashing. */
#include "torture_places.h"

#include <sys/mman.h>
#include <unwind.h>

enum {
    SLOTS = PLACES_MAX * 4,
    FRAMES = 24,
    OURS = 2 /* the frames of places_note and the allocator */
};

static uint32_t slots[SLOTS], stacks[SLOTS]; /* numbers of places, from 1 */

uint64_t torture_draw(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9E3779B97F4A7C15));

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (x ^ (x >> 27)) >> 8;
}

struct places *places_new(void)
{
    void *p = mmap(NULL, sizeof(struct places), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void places_begin(struct places *p, uint64_t seed)
{
    p->count = 0;
    p->lost = false;
    p->seed = seed;
}

struct walk {
    int depth;
    uint64_t key;
};

/* (backtrace() would load a library, and that allocates.) */
static _Unwind_Reason_Code on_frame(struct _Unwind_Context *frame, void *arg)
{
    struct walk *w = arg;

    if (w->depth++ >= OURS)
        w->key = (w->key ^ _Unwind_GetIP(frame)) * UINT64_C(0x100000001B3);
    return w->depth < FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* The slot of a key, or the empty one for it. */
static uint32_t *slot_of(uint32_t *table, const struct places *p, uint64_t key,
                         const uint64_t *keys)
{
    size_t i = key % SLOTS;

    while (table[i] && (keys ? keys[table[i] - 1] : p->all[table[i] - 1].key) != key)
        i = (i + 1) % SLOTS;
    return &table[i];
}

void places_note(struct places *p, long nth, size_t verdicts)
{
    static uint64_t stack_keys[PLACES_MAX];
    static long verdicts_of[PLACES_MAX];
    struct walk w = {.key = UINT64_C(0xCBF29CE484222325)};
    uint64_t key, stack;
    uint32_t *slot, *seen;

    _Unwind_Backtrace(on_frame, &w);
    stack = w.key ^ (w.key >> 29);
    key = (stack ^ verdicts) * UINT64_C(0x9E3779B97F4A7C15);
    slot = slot_of(slots, p, key, NULL);
    if (!*slot) {
        if (p->count == PLACES_MAX) {
            p->lost = true;
            return;
        }
        seen = slot_of(stacks, p, stack, stack_keys);
        stack_keys[p->count] = stack;
        p->all[p->count] = (struct place){.key = key, .first = nth};
        *slot = (uint32_t)++p->count;
        if (!*seen)
            *seen = *slot;
        p->all[*slot - 1].verdict = ++verdicts_of[*seen - 1];
    }
    struct place *place = &p->all[*slot - 1];
    if (torture_draw(&p->seed) % (uint64_t)++place->count == 0)
        place->drawn = nth;
}
