/* openai_failure: what went wrong with a model provider: a stable code, a sentence that
 * is safe to show, and whether asking again may help. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_FAILURE_H
#define THREADCAST_WORKER_AGENTS_OPENAI_FAILURE_H

#include "common/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct openai_failure {
    const char *code; /* NULL: nothing went wrong */
    struct buf message;
    bool retryable;
};

void openai_failure_init(struct openai_failure *f);
void openai_failure_fini(struct openai_failure *f);
/* The first one counts: what went wrong later follows from it. */
void openai_fail(struct openai_failure *f, const char *code, bool retryable,
                 const char *message);
/* An answer that is not 200, with its body in whatever shape. */
void openai_fail_status(struct openai_failure *f, int status, const char *body,
                        size_t len);
/* An error in an answer that had begun well: the value of `error`, or all of the text. */
void openai_fail_value(struct openai_failure *f, const json_t *error);
void openai_fail_text(struct openai_failure *f, const char *text, size_t len);
/* `secret` (NULL: none) does not stand in the message any more. */
void openai_failure_scrub(struct openai_failure *f, const char *secret);

#endif
