/* openai_chunk: one JSON object of an answer, a piece of a stream or all of it, taken
 * into the answer. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_CHUNK_H
#define THREADCAST_WORKER_AGENTS_OPENAI_CHUNK_H

#include <jansson.h>

struct openai_answer;

/* Says its text, keeps what is to be said later, sees its end or its error. */
void openai_chunk_read(struct openai_answer *a, const json_t *root);

#endif
