/* event: what one `data:` line says, read with jansson: on purpose not the daemons' own
 * reader. Readers of one thread get the same bytes, so what was read last is kept, and
 * compared byte for byte before it is believed. */
#ifndef FARM_EVENT_H
#define FARM_EVENT_H

#include "tests/faults/readers/book.h"

#include <jansson.h>

enum event_type {
    EVENT_OTHER,
    EVENT_TOKEN,
    EVENT_STATUS,
    EVENT_DELTA,
    EVENT_DONE,
    EVENT_ERROR
};
enum event_status { STATUS_OTHER, STATUS_QUEUED, STATUS_STARTED, STATUS_REWIND };

struct event {
    enum event_type type;
    enum event_status status;
    struct event_id id;             /* 0-0: it has none */
    const char *id_text;            /* as it stands in the JSON; NULL */
    const char *thread_id, *run_id; /* NULL: it has none */
    struct thread *thread;          /* NULL: nobody reads that one */
    struct run *run;
    int64_t attempt, ts_ms;
    const char *text; /* of a token */
    size_t text_len;
    const char *message_id; /* lives as long as the book; NULL */
    const char *code;       /* finishReason or code, lives as long as the book */
    json_t *root;
};

struct event_cache;

struct event_cache *event_cache_new(struct book *book);
void event_cache_free(struct event_cache *c);

/* What stands in these bytes, until the next call; NULL: *ret_why says why not. */
const struct event *event_read(struct event_cache *c, const char *data, size_t len,
                               const char **ret_why);

/* `17-3`, without leading zeros, as far as 2^64 - 1. */
bool event_id_read(const char *text, size_t len, struct event_id *ret_id);

const char *event_type_name(enum event_type type);

#endif
