/* fold: kept in step with what was given to pending, so that either can be thrown away
 * and made again. JSON kept here has no line breaks: the callers have encoded it. */
#include "worker/fold.h"

#include "common/utf8.h"

#include <string.h>

#define REWIND "{\"status\":\"rewind\"}"

void fold_init(struct fold *f)
{
    buf_init(&f->text);
    buf_init(&f->reasoning);
    buf_init(&f->steps);
    buf_init(&f->status);
}

void fold_fini(struct fold *f)
{
    buf_fini(&f->text);
    buf_fini(&f->reasoning);
    buf_fini(&f->steps);
    buf_fini(&f->status);
}

void fold_text(struct fold *f, const char *text, size_t len)
{
    buf_add(&f->text, text, len);
}

void fold_reasoning(struct fold *f, const char *text, size_t len)
{
    buf_add(&f->reasoning, text, len);
}

void fold_delta(struct fold *f, const char *kind, const char *json, size_t len)
{
    if (strcmp(kind, "progress") == 0 || strcmp(kind, "activity") == 0)
        return;
    buf_add(&f->steps, json, len);
    buf_char(&f->steps, '\n');
}

void fold_status(struct fold *f, const char *json, size_t len)
{
    buf_clear(&f->status);
    buf_add(&f->status, json, len);
}

bool fold_failed(const struct fold *f)
{
    return f->text.failed || f->reasoning.failed || f->steps.failed || f->status.failed;
}

void fold_reasoning_json(struct buf *out, const char *text, size_t len)
{
    buf_str(out, "{\"kind\":\"reasoning\",\"text\":");
    buf_json(out, text, len);
    buf_char(out, '}');
}

static void pour_reasoning(const struct fold *f, struct pending *into, int64_t ts_ms)
{
    const char *at = f->reasoning.data;
    size_t left = f->reasoning.len;
    struct buf json;

    buf_init(&json);
    while (left > 0) {
        size_t piece = left;
        if (piece > PENDING_TOKEN_MAX)
            piece = utf8_whole(at, PENDING_TOKEN_MAX);
        buf_clear(&json);
        fold_reasoning_json(&json, at, piece);
        pending_json(into, EVENT_DELTA, json.data, json.len, ts_ms);
        at += piece;
        left -= piece;
    }
    buf_fini(&json);
}

static void pour_steps(const struct fold *f, struct pending *into, int64_t ts_ms)
{
    const char *at = f->steps.data, *end = at ? at + f->steps.len : NULL;

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        pending_json(into, EVENT_DELTA, at, (size_t)(line_end - at), ts_ms);
        at = line_end + 1;
    }
}

void fold_pour(const struct fold *f, struct pending *into, int64_t ts_ms)
{
    pending_json(into, EVENT_STATUS, REWIND, sizeof(REWIND) - 1, ts_ms);
    pour_reasoning(f, into, ts_ms);
    pour_steps(f, into, ts_ms);
    if (f->status.len > 0)
        pending_json(into, EVENT_STATUS, f->status.data, f->status.len, ts_ms);
    if (f->text.len > 0)
        pending_text(into, f->text.data, f->text.len, ts_ms);
}
