/* check: holds what a reader gets against what PROTOCOL.md sections 1 and 3 promise.
 *
 *   block ─▶ check ─▶ order: is the id the next one?       (order.c)
 *              └────▶ course: is the run's course right,
 *                     and every byte of its text?          (course.c)
 *
 * The kinds of violations:
 *   framing          the bytes are no stream as section 3 has it
 *   position         an id line does not say what was delivered
 *   duplicate        an id again            reordered        a lower one
 *   lost             ids are missing that no merging explains, or a run's beginning
 *   foreign          a thread that is not the reader's, a run of another thread, a text
 *                    of another run
 *   lost text, duplicated text, changed text, text of another attempt
 *   attempt          a lower one behind a higher
 *   begin            an attempt that does not begin with `started` or `rewind`, or twice
 *   second end, after end, other end (than another reader saw) */
#ifndef FARM_CHECK_H
#define FARM_CHECK_H

#include "tests/faults/readers/reader.h"

void check_block(struct reader *r, const struct block *b);

/* The event's own place in its thread. */
void check_order(struct reader *r, struct view *v, const struct event *e);

/* What an id line says of all the reader's threads. */
void check_positions(struct reader *r, struct piece id);

/* As `check_positions`, but `fresh` begins anew where the line says. */
void check_positions_reset(struct reader *r, struct piece id, struct view *fresh);

void check_course(struct reader *r, struct view *v, const struct event *e);

/* Is the text of a run that ended well whole? Asked again when its length gets known. */
void check_whole(struct reader *r, struct view *v, const struct course *c);

#endif
