/* openai_json: the JSON of a model provider, which is not always quite JSON. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_JSON_H
#define THREADCAST_WORKER_AGENTS_OPENAI_JSON_H

#include "common/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Any value. Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD.
 * Returns new, or NULL (`ret`, which may be NULL: JSON_MALFORMED, also what is too deep
 * for the parser, or JSON_NO_MEMORY). */
json_t *openai_json(const char *text, size_t len, enum json_trouble *ret);
/* A number, also as text; -1: none that is at least 0. */
int64_t openai_number(const json_t *value);
/* May an event carry this text as an object: whole, not too deep, nothing that Postgres
 * refuses? */
bool openai_json_is_object(const char *text, size_t len);

#endif
