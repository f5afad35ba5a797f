/* exec_line: checked strictly, because what passes here is published under the run's
 * name. No JSON of the program's own bytes is forwarded: it is read and written anew. */
#include "worker/agents/exec_line.h"

#include "common/json.h"
#include "common/jsonscan.h"
#include "common/names.h"
#include "common/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- lines ------------------------------------------------------------------------ */

void exec_lines_init(struct exec_lines *l, size_t max)
{
    *l = (struct exec_lines){.max = max};
    buf_init(&l->data);
}

void exec_lines_fini(struct exec_lines *l)
{
    buf_fini(&l->data);
}

static bool line_done(struct exec_lines *l, exec_line_fn *fn, void *arg)
{
    bool more = true;

    if (!l->skipping) {
        size_t len = l->data.len;
        if (len > 0 && l->data.data[len - 1] == '\r')
            len--;
        more = fn(len > 0 ? l->data.data : "", len, arg);
    }
    l->skipping = false;
    buf_clear(&l->data);
    return more;
}

void exec_lines_feed(struct exec_lines *l, const char *data, size_t len, exec_line_fn *fn,
                     void *arg)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t piece = end ? (size_t)(end - data) : len;
        bool too_long = l->data.len + piece > l->max;
        if (!l->skipping && !too_long)
            buf_add(&l->data, data, piece);
        if (!l->skipping && (too_long || l->data.failed)) {
            l->skipping = true;
            buf_clear(&l->data);
            if (!fn(NULL, 0, arg))
                return;
        }
        if (!end)
            return;
        if (!line_done(l, fn, arg))
            return;
        data = end + 1;
        len -= piece + 1;
    }
}

void exec_lines_end(struct exec_lines *l, exec_line_fn *fn, void *arg)
{
    if (l->data.len > 0 && !l->skipping)
        line_done(l, fn, arg);
}

/* --- one line --------------------------------------------------------------------- */

static void bad(struct exec_line *l, const char *why)
{
    l->said = EXEC_BAD;
    l->why = why;
}

static void add_json(struct buf *out, const json_t *value)
{
    char *text = json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);

    if (text)
        buf_str(out, text);
    else
        out->failed = true;
    free(text);
}

static void add_string(struct buf *out, const json_t *value)
{
    buf_add(out, json_string_value(value), json_string_length(value));
}

/* A short word for `kind`; false: it is none. */
static bool word_of(const json_t *value, char out[65])
{
    const char *s = json_string_value(value);
    size_t len = json_string_length(value);

    if (!s || !word_valid(s, len))
        return false;
    memcpy(out, s, len + 1);
    return true;
}

static void parse_token(struct exec_line *l, const json_t *content)
{
    l->said = EXEC_TOKEN;
    if (!json_is_string(content))
        bad(l, "the content of a token is a string");
    else
        add_string(&l->text, content);
}

static void parse_delta(struct exec_line *l, const json_t *content)
{
    const json_t *text = json_object_get(content, "text");

    l->said = EXEC_DELTA;
    if (!word_of(json_object_get(content, "kind"), l->kind)) {
        bad(l, "the content of a delta is an object with a kind");
    } else if (strcmp(l->kind, "reasoning") == 0 && json_is_string(text) &&
               json_object_size(content) == 2) {
        l->said = EXEC_REASONING;
        add_string(&l->text, text);
    } else {
        add_json(&l->json, content);
    }
}

/* What only the run itself may say of itself is not the agent's to say. */
static bool is_own_status(const char *status)
{
    return strcmp(status, "queued") == 0 || strcmp(status, "started") == 0 ||
           strcmp(status, "rewind") == 0 || strcmp(status, "cancelled") == 0;
}

static void parse_status(struct exec_line *l, const json_t *content)
{
    const json_t *status =
        json_is_string(content) ? content : json_object_get(content, "status");
    l->said = EXEC_STATUS;
    if (!word_of(status, l->kind)) {
        bad(l, "the content of a status is a word, or an object with a status");
    } else if (is_own_status(l->kind)) {
        bad(l, "that status is given by the worker");
    } else if (json_is_string(content)) {
        buf_str(&l->json, "{\"status\":");
        add_json(&l->json, status);
        buf_char(&l->json, '}');
    } else {
        add_json(&l->json, content);
    }
}

static void parse_done(struct exec_line *l, const json_t *content)
{
    const json_t *usage = json_object_get(content, "usage");

    l->said = EXEC_DONE;
    if (!word_of(json_object_get(content, "finishReason"), l->kind))
        snprintf(l->kind, sizeof(l->kind), "stop");
    l->has_usage = json_is_object(usage);
    if (l->has_usage)
        add_json(&l->json, usage);
}

static void parse_error(struct exec_line *l, const json_t *content)
{
    const json_t *message =
        json_is_string(content) ? content : json_object_get(content, "message");
    l->said = EXEC_ERROR;
    if (!word_of(json_object_get(content, "code"), l->kind))
        snprintf(l->kind, sizeof(l->kind), "agent_error");
    l->retryable = json_is_true(json_object_get(content, "retryable"));
    if (json_string_length(message) > 0)
        add_string(&l->text, message);
    else
        buf_str(&l->text, "The agent reported an error.");
}

static void parse_run_id(struct exec_line *l, const json_t *value)
{
    if (uuid_valid(json_string_value(value), json_string_length(value)))
        memcpy(l->run_id, json_string_value(value), UUID_SIZE);
}

static void parse_object(struct exec_line *l, const json_t *root)
{
    const char *type = json_string_value(json_object_get(root, "type"));
    const json_t *content = json_object_get(root, "content");

    parse_run_id(l, json_object_get(root, "runId"));
    l->protocol = json_integer_value(json_object_get(root, "protocol"));
    if (!type)
        bad(l, "a line is an object with a type");
    else if (strcmp(type, "token") == 0)
        parse_token(l, content);
    else if (strcmp(type, "delta") == 0)
        parse_delta(l, content);
    else if (strcmp(type, "status") == 0)
        parse_status(l, content);
    else if (strcmp(type, "done") == 0)
        parse_done(l, content);
    else if (strcmp(type, "error") == 0)
        parse_error(l, content);
    else if (strcmp(type, "ready") == 0)
        l->said = EXEC_READY;
    else
        bad(l, "unknown type");
}

static bool is_blank(const char *s, size_t len)
{
    while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    return len == 0;
}

/* The code unit of an escape \\uXXXX; -1: it is none. */
static int escaped_unit(const char *s, size_t len)
{
    int unit = 0;

    if (len < 6 || s[0] != '\\' || s[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        const char *digits = "0123456789abcdef";
        if (!isxdigit((unsigned char)s[i]))
            return -1;
        unit = unit * 16 + (int)(strchr(digits, tolower((unsigned char)s[i])) - digits);
    }
    return unit;
}

static bool is_high(int unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low(int unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

/* Half of a surrogate pair and NUL are written by programs that split text where they
 * like, and are no text: U+FFFD, like broken UTF-8. What is no JSON stays as it is. */
static void repair_escapes(struct buf *out, const char *s, size_t len)
{
    size_t step;

    for (size_t at = 0; at < len; at += step) {
        int unit = escaped_unit(s + at, len - at);
        step = s[at] == '\\' && at + 1 < len ? 2 : 1;
        if (unit >= 0)
            step = 6;
        if (is_high(unit) && is_low(escaped_unit(s + at + 6, len - at - 6)))
            step = 12;
        else if (unit == 0 || is_high(unit) || is_low(unit)) {
            buf_str(out, "\\ufffd");
            continue;
        }
        buf_add(out, s + at, step);
    }
}

/* Depth before the parser recurses. */
static bool is_flat_enough(const char *s, size_t len)
{
    struct jsonscan scan;
    struct jsonscan_piece piece;

    jsonscan_init(&scan, s, len, EVENT_MAX_DEPTH);
    return jsonscan_value(&scan, &piece) != JSONSCAN_DEEP;
}

static void parse_text(struct exec_line *l, const char *line, size_t len)
{
    enum json_trouble trouble;
    json_t *root;

    if (!is_flat_enough(line, len)) {
        bad(l, "too deep");
        return;
    }
    root = json_read(line, len, JSON_REJECT_DUPLICATES, &trouble);
    if (json_is_object(root))
        parse_object(l, root);
    else
        bad(l, trouble == JSON_NO_MEMORY ? "no memory" : "not a JSON object");
    json_decref(root);
}

void exec_line_parse(const char *line, size_t len, struct exec_line *l)
{
    struct buf repaired, whole;

    *l = (struct exec_line){.said = EXEC_EMPTY};
    buf_init(&l->text);
    buf_init(&l->json);
    if (is_blank(line, len))
        return;
    buf_init(&repaired);
    buf_init(&whole);
    if (!utf8_valid(line, len)) {
        utf8_repair(&repaired, line, len);
        line = repaired.data ? repaired.data : "";
        len = repaired.len;
    }
    if (memchr(line, '\\', len)) {
        repair_escapes(&whole, line, len);
        line = whole.data ? whole.data : "";
        len = whole.len;
    }
    parse_text(l, line, len);
    if (l->text.failed || l->json.failed || repaired.failed || whole.failed)
        bad(l, "no memory");
    buf_fini(&repaired);
    buf_fini(&whole);
}

void exec_line_fini(struct exec_line *l)
{
    buf_fini(&l->text);
    buf_fini(&l->json);
}
