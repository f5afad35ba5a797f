/* demo_text: what the demo agent finds out about a prompt, and the answer it writes. */
#ifndef THREADCAST_WORKER_AGENTS_DEMO_TEXT_H
#define THREADCAST_WORKER_AGENTS_DEMO_TEXT_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct demo_facts {
    size_t bytes, characters, words, sentences;
    bool latin, greek, cyrillic, arabic, hebrew, devanagari, cjk, emoji;
    bool german;
};

void demo_look(const char *prompt, size_t len, struct demo_facts *ret_facts);
/* "Latin, CJK" */
void demo_scripts(const struct demo_facts *f, struct buf *out);
void demo_answer(const char *prompt, size_t len, const struct demo_facts *f,
                 struct buf *out);
/* What it thinks before and in the middle. */
const char *demo_thought(const struct demo_facts *f, int which);

/* The length of piece number `index`, so that a text of `total` characters comes in
 * about 330 pieces of a few characters each. `left` bytes stand at `at`. */
size_t demo_piece(const char *at, size_t left, size_t total_characters, size_t index);

#endif
