/* openai_request: the question to a model provider. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_REQUEST_H
#define THREADCAST_WORKER_AGENTS_OPENAI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct openai_settings;

/* Where: `<base>/chat/completions`; a base without a path gets `/v1` first. A query stays
 * behind it. */
void openai_request_url(const char *base, struct buf *out);
/* What: the system prompt, as much of the history as the budget holds, newest first to be
 * kept, and the present prompt, always. `history`: JSON array of {role, content}, oldest
 * first, or NULL. false: no memory. */
bool openai_request_body(const struct openai_settings *s, const char *history,
                         const char *prompt, struct buf *out);
/* About as many tokens as a message of this text is: a quarter of one for an ASCII
 * character, one for any other, four for the message. */
int64_t openai_tokens(const char *text, size_t len);

#endif
