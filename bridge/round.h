/* round: one question to every reactor, asked in its own thread; the answers come back
 * together. For what concerns the process: its numbers, its readiness, a change of owner.
 * With one reactor it is a plain call.
 *
 *   round_ask ─▶ each (in every reactor) ─▶ round_answer ─▶ done (where it was asked)
 */
#ifndef THREADCAST_ROUND_H
#define THREADCAST_ROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bridge;
struct round;

/* One reactor's part of it. */
struct round_part {
    struct bridge *bridge; /* the one that is asked */
    const void *question;  /* a copy */
    void *answer;          /* answer_size zeroed bytes, to be filled */
};

struct round_kind {
    size_t question_size, answer_size;
    /* Who has --max-rounds of our questions unanswered is not asked, so that they do not
     * pile up before a reactor that hangs. */
    bool bounded;
    /* Must call round_answer once, now or later. */
    void (*each)(struct round_part *part);
    /* Once, in the asking reactor, maybe before round_ask returns. NULL: nobody waits. */
    void (*done)(const struct round *r, void *arg);
    /* Behind `done`, when the last is back: frees what the answers own. May be NULL. */
    void (*gone)(void *answer);
};

/* Those who have not answered within a little more than --upstream-timeout-ms are left
 * out. false: no memory, nobody was asked; or somebody was not who must be (bounded, and
 * no `done`): ask again when there is room. */
bool round_ask(struct bridge *from, const struct round_kind *kind, const void *question,
               void *arg);
/* Would everybody be asked? */
bool round_room(const struct bridge *from);
void round_answer(struct round_part *part);

/* For done: how many were asked, and what number `i` said; NULL: nothing in time. */
size_t round_size(const struct round *r);
const void *round_said(const struct round *r, size_t i);
struct bridge *round_from(const struct round *r);

#endif
