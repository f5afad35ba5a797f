/* fuzz_exec_line: what a program says on stdout. Wherever the bytes are split, the same
 * lines come out, and together they are the input; what a line says is valid, and becomes
 * a valid event, or it says nothing. The first two bytes give the size of the pieces, 0
 * and 1 that they are of any size. */
#include "fuzz.h"

#include "worker/agents/exec_line.h"

#include <jansson.h>

enum { LINE_MAX_BYTES = 300 };

static bool collect(const char *line, size_t len, void *arg)
{
    struct buf *out = arg;

    buf_str(out, line ? "line " : "long");
    if (line)
        buf_add(out, line, len);
    buf_char(out, '\n');
    return true;
}

static void check_json(const struct buf *json)
{
    json_t *value;

    MUST(json->len > 0 && !memchr(json->data, '\n', json->len));
    value = json_loadb(json->data, json->len, JSON_REJECT_DUPLICATES, NULL);
    MUST(json_is_object(value));
    json_decref(value);
}

/* What an agent said is published as an event, and the bridge takes it. */
static void check_event(const struct exec_line *l)
{
    static const struct event_run run = {"t1", "r", "a", "m", 1};
    struct event_view v;
    struct buf out;

    buf_init(&out);
    if (l->said == EXEC_TOKEN)
        event_token(&out, &run, l->text.data ? l->text.data : "", l->text.len, 1);
    else
        event_json(&out, &run, l->said == EXEC_DELTA ? EVENT_DELTA : EVENT_STATUS,
                   l->json.data, l->json.len, 1);
    MUST(event_check(out.data, out.len, "t1", 2, &v) == EVENT_OK);
    MUST(v.content.at && v.attempt == 1 && event_id_zero(v.id));
    buf_fini(&out);
}

static bool check_line(const char *line, size_t len, void *arg)
{
    struct exec_line l;

    (void)arg;
    if (!line)
        return true;
    exec_line_parse(line, len, &l);
    if (l.text.len > 0)
        MUST(utf8_valid(l.text.data, l.text.len));
    if (l.said == EXEC_DELTA || l.said == EXEC_STATUS)
        check_json(&l.json);
    if (l.said == EXEC_TOKEN || l.said == EXEC_DELTA || l.said == EXEC_STATUS)
        check_event(&l);
    if (l.said == EXEC_DONE && l.has_usage)
        check_json(&l.json);
    if (l.said == EXEC_BAD)
        MUST(l.why);
    MUST(!l.run_id[0] || uuid_valid(l.run_id, strlen(l.run_id)));
    exec_line_fini(&l);
    return true;
}

/* In pieces of `step` bytes, or of any size (0). */
static void feed(const char *data, size_t len, size_t step, exec_line_fn *fn, void *arg)
{
    struct exec_lines lines;
    size_t piece;

    exec_lines_init(&lines, LINE_MAX_BYTES);
    for (size_t at = 0, i = 0; at < len; at += piece, i++) {
        piece = step ? step : fuzz_cut(data, len, i);
        if (piece > len - at)
            piece = len - at;
        exec_lines_feed(&lines, data + at, piece, fn, arg);
    }
    exec_lines_end(&lines, fn, arg);
    exec_lines_fini(&lines);
}

/* The same lines, found in the plainest way. */
static void split(const char *data, size_t len, struct buf *out)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t line = end ? (size_t)(end - data) : len;
        size_t text = line && data[line - 1] == '\r' ? line - 1 : line;
        collect(line > LINE_MAX_BYTES ? NULL : data, text, out);
        data += line + (end != NULL);
        len -= line + (end != NULL);
    }
}

static bool same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut, plain;
    size_t step;

    if (size < 2)
        return 0;
    step = (size_t)(data[0] | data[1] << 8);
    step = step < 2 ? 0 : step % 700 + 1;
    data += 2;
    size -= 2;
    buf_init(&whole);
    buf_init(&cut);
    buf_init(&plain);
    buf_str(&whole, "");
    buf_str(&cut, "");
    buf_str(&plain, "");
    feed((const char *)data, size, size + 1, collect, &whole);
    feed((const char *)data, size, step, collect, &cut);
    split((const char *)data, size, &plain);
    MUST(same(&whole, &cut) && same(&whole, &plain));
    feed((const char *)data, size, step, check_line, NULL);
    buf_fini(&whole);
    buf_fini(&cut);
    buf_fini(&plain);
    return 0;
}
