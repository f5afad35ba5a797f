/* openai_settings: what one run asks a model provider with. Three layers, each over the
 * one before: the worker's options, the agent's members in the operator's file, and what
 * of a message's `metadata.openai` the operator allows. */
#ifndef THREADCAST_WORKER_AGENTS_OPENAI_SETTINGS_H
#define THREADCAST_WORKER_AGENTS_OPENAI_SETTINGS_H

#include "common/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker_conf;

/* What a message may be allowed to set; bits of `allow`. */
enum {
    OPENAI_ALLOW_MODEL = 1,
    OPENAI_ALLOW_SYSTEM = 2,
    OPENAI_ALLOW_TEMPERATURE = 4,
    OPENAI_ALLOW_MAX_TOKENS = 8,
    OPENAI_ALLOW_EXTRA_BODY = 16,
};

/* A layer need not say all of it: texts are then NULL, numbers -1. */
struct openai_settings {
    char *base_url, *api_key, *model, *system; /* owned */
    double temperature;
    int64_t max_tokens;
    json_t *extra_body; /* an object */
    int64_t history_messages, history_tokens;
    int64_t connect_ms, first_byte_ms, stall_ms, timeout_ms;
    int64_t retries, retry_max_ms;
    int64_t max_bytes, max_events;
    int64_t pace;   /* tokens a second of an answer in one piece; 0: at once */
    int64_t stream; /* 1, 0: asks for the answer in one piece */
    int64_t allow;
};

void openai_settings_init(struct openai_settings *s); /* says nothing */
void openai_settings_fini(struct openai_settings *s);
/* The worker's options, and a default for everything else. false: no memory. */
bool openai_settings_standard(struct openai_settings *s, const struct worker_conf *conf);
/* Puts what `over` says in the place of what was said before. false: no memory. */
bool openai_settings_over(struct openai_settings *s, const struct openai_settings *over);

/* As agent_kind wants them. */
void *openai_options_new(const char *json, size_t len, struct buf *err);
void openai_options_free(void *options);

/* `metadata` of a message: a JSON object. NULL: taken; else the code of an error, and in
 * `why` a sentence that is safe to show. */
const char *openai_settings_message(struct openai_settings *s, const char *metadata,
                                    struct buf *why);

/* For the worker's table of options. */
bool openai_key_check(const char *key, struct buf *err);

#endif
