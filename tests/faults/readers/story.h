/* story: the text of every answer, known beforehand to whoever has the seed. Piece n of
 * (seed, thread, run, attempt) begins with a marker, ⟦tag.attempt.n⟧, and goes on with
 * text from a nasty alphabet, so a foreign, lost, repeated or changed byte is recognised,
 * and mostly said where it belongs. */
#ifndef FARM_STORY_H
#define FARM_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORY_PIECE_MAX = 200, STORY_TAG_SIZE = 9 };

/* All that depends on seed, thread and run. */
uint64_t story_key(uint64_t seed, const char *thread_id, const char *run_id);

/* The short name of the run in the markers. */
void story_tag(uint64_t key, char ret_tag[STORY_TAG_SIZE]);

/* Piece n, from 1: valid UTF-8 without NUL. Returns its bytes. */
size_t story_piece(uint64_t key, uint32_t attempt, uint32_t n, char out[STORY_PIECE_MAX]);

struct story_marker {
    char tag[STORY_TAG_SIZE];
    uint32_t attempt, n;
    size_t at; /* where it begins */
};

/* The first whole marker in these bytes. */
bool story_find(const char *text, size_t len, struct story_marker *ret_marker);

#endif
