/* question: what of a request is passed on to --authorize-url: its credentials, and what
 * it wants. Two requests of the same question get the same answer. */
#ifndef THREADCAST_QUESTION_H
#define THREADCAST_QUESTION_H

#include "common/buf.h"

#include <stdbool.h>

struct request;

#define QUESTION_HEADERS_MAX 6

/* false: it carries nothing that anybody could be known by. */
bool question_worth(const struct request *r);

/* NAME NUL value NUL …, appended. */
void question_write(struct buf *out, const struct request *r);
void question_wipe(struct buf *question); /* leaves it empty */

#endif
