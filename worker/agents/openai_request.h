/* openai_request: the question to a model provider. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_REQUEST_H
#define THREADCAST_WORKER_AGENTS_OPENAI_REQUEST_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct openai_settings;

struct openai_question {
    struct buf url, body;
    struct buf bearer; /* the Authorization header; empty: without a key */
};

void openai_question_init(struct openai_question *q);
void openai_question_fini(struct openai_question *q); /* leaves no key in memory */
/* `history`: JSON array of {role, content}, oldest first, or NULL. false: no memory. */
bool openai_question_make(struct openai_question *q, const struct openai_settings *s,
                          const char *history, const char *prompt);

/* Where: `<base>/chat/completions`; a base without a path gets `/v1` first. A query stays
 * behind it. */
void openai_request_url(const char *base, struct buf *out);
/* What: the system prompt, as much of the history as the budget holds, newest first to be
 * kept, and the present prompt, always. */
bool openai_request_body(const struct openai_settings *s, const char *history,
                         const char *prompt, struct buf *out);
/* About as many tokens as a message of this text is: a quarter of one for an ASCII
 * character, one for any other, four for the message. */
int64_t openai_tokens(const char *text, size_t len);

#endif
