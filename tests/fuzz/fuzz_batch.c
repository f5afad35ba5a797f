/* fuzz_batch: a publishing request's body. What jansson finds valid is cut into as many
 * events as it has elements, each of them good by itself and saying what its element
 * says, or refused as a whole. */
#include "fuzz.h"

#include "bridge/batch.h"

#include <jansson.h>

/* The same but for id, threadId and ts. */
static void check_same(const struct span *e, const json_t *element)
{
    json_t *got =
        json_loadb(e->at, e->len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    json_t *want = json_copy((json_t *)(uintptr_t)element);
    static const char *const ours[] = {"id", "threadId", "ts"};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        json_object_del(got, ours[i]);
        json_object_del(want, ours[i]);
    }
    MUST(got && json_equal(got, want));
    json_decref(got);
    json_decref(want);
}

static void check(const struct batch *b, const json_t *value)
{
    MUST(b->count == (json_is_array(value) ? json_array_size(value) : 1));
    for (size_t i = 0; i < b->count; i++) {
        struct event_view view;
        const struct span *e = &b->events[i];
        MUST(event_check(e->at, e->len, "t1", 2, &view) == EVENT_OK);
        MUST(view.thread_id.at && view.ts_span.at && !view.id_span.at);
        MUST(!memchr(e->at, '\n', e->len));
        check_same(e, json_is_array(value) ? json_array_get(value, i) : value);
    }
    MUST(!b->runs.data || b->runs.data[b->runs.len] == 0);
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
        MUST(fault.code && fault.message[0]);
    batch_fini(&b);
    json_decref(value);
    return 0;
}
