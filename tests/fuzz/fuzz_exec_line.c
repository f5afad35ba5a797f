/* fuzz_exec_line: what a program says on stdout. Wherever the bytes are split, the same
 * lines come out; what a line says is valid, or it says nothing. The first two bytes give
 * the split points. */
#include "worker/agents/exec_line.h"

#include "common/utf8.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

    assert(json->len > 0 && !memchr(json->data, '\n', json->len));
    value = json_loadb(json->data, json->len, JSON_REJECT_DUPLICATES, NULL);
    assert(json_is_object(value));
    json_decref(value);
}

static bool check_line(const char *line, size_t len, void *arg)
{
    struct exec_line l;

    (void)arg;
    if (!line)
        return true;
    exec_line_parse(line, len, &l);
    if (l.text.len > 0)
        assert(utf8_valid(l.text.data, l.text.len));
    if (l.said == EXEC_DELTA || l.said == EXEC_STATUS)
        check_json(&l.json);
    if (l.said == EXEC_DONE && l.has_usage)
        check_json(&l.json);
    if (l.said == EXEC_BAD)
        assert(l.why);
    exec_line_fini(&l);
    return true;
}

static void feed(const char *data, size_t len, size_t step, exec_line_fn *fn, void *arg)
{
    struct exec_lines lines;

    exec_lines_init(&lines, LINE_MAX_BYTES);
    for (size_t at = 0; at < len; at += step)
        exec_lines_feed(&lines, data + at, len - at < step ? len - at : step, fn, arg);
    exec_lines_end(&lines, fn, arg);
    exec_lines_fini(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, split;
    size_t step;

    if (size < 2)
        return 0;
    step = (size_t)(data[0] | data[1] << 8) % 700 + 1;
    data += 2;
    size -= 2;
    buf_init(&whole);
    buf_init(&split);
    buf_str(&whole, "");
    buf_str(&split, "");
    feed((const char *)data, size, size + 1, collect, &whole);
    feed((const char *)data, size, step, collect, &split);
    assert(whole.len == split.len);
    assert(whole.len == 0 || memcmp(whole.data, split.data, whole.len) == 0);
    feed((const char *)data, size, step, check_line, NULL);
    buf_fini(&whole);
    buf_fini(&split);
    return 0;
}
