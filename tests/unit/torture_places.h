/* torture_places: where a test allocates. Allocations of one call stack are handled by
 * the same code, so a failure is tried at the first of them and at one that is drawn;
 * those behind another verdict are about something else and count on their own, up to a
 * point. */
#ifndef THREADCAST_TESTS_TORTURE_PLACES_H
#define THREADCAST_TESTS_TORTURE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLACES_MAX = 1 << 16 };

struct place {
    uint64_t key; /* of the call stack, and how many verdicts were given before */
    long first, drawn, count; /* numbers of allocations, from 1; how many there are */
    long verdict; /* 1: the first place of its call stack, 2: the next, behind a later one
                   */
};

/* Shared with the process that counts. */
struct places {
    size_t count;
    bool lost; /* there were more */
    uint64_t seed;
    struct place all[PLACES_MAX];
};

struct places *places_new(void); /* once; stays */
void places_begin(struct places *p, uint64_t seed);
/* Notes the nth allocation of whoever calls. Allocates nothing. */
void places_note(struct places *p, long nth, size_t verdicts);
uint64_t torture_draw(uint64_t *state);

#endif
