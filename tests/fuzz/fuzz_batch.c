/* fuzz_batch: a publishing request's body. What jansson finds valid is cut into as many
 * events as it has elements, each of them good by itself, or refused as a whole. */
#include "bridge/batch.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct batch *b, const json_t *value)
{
    assert(b->count == (json_is_array(value) ? json_array_size(value) : 1));
    for (size_t i = 0; i < b->count; i++) {
        struct event_view view;
        const struct span *e = &b->events[i];
        assert(event_check(e->at, e->len, "t1", 2, &view) == EVENT_OK);
        assert(view.thread_id.at && view.ts_span.at && !view.id_span.at);
        assert(!memchr(e->at, '\n', e->len));
    }
    assert(!b->runs.data || b->runs.data[b->runs.len] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)data, size,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    struct batch_fault fault = {0};
    struct batch b;

    if (!value)
        return 0;
    batch_init(&b);
    if (batch_fill(&b, (const char *)data, size, "t1", 5, &fault))
        check(&b, value);
    else
        assert(fault.code && fault.message[0]);
    batch_fini(&b);
    json_decref(value);
    return 0;
}
