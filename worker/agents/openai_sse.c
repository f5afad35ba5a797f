/* openai_sse: line by line; a line is copied only when it is split between two pieces. It
 * knows nothing of what the events mean. */
#include "worker/agents/openai_sse.h"

#include <string.h>

static const char mark[] = "\xEF\xBB\xBF";
enum { MARK = 3 };

void openai_sse_init(struct openai_sse *s, size_t max)
{
    *s = (struct openai_sse){.max = max};
    buf_init(&s->line);
    buf_init(&s->data);
    buf_init(&s->name);
}

void openai_sse_fini(struct openai_sse *s)
{
    buf_fini(&s->line);
    buf_fini(&s->data);
    buf_fini(&s->name);
}

/* The blank line. An event without a data field is none, whatever its name. */
static bool dispatch(struct openai_sse *s, openai_sse_fn *fn, void *arg)
{
    bool more = true;

    if (s->data.len > 0) {
        s->data.data[--s->data.len] = '\0'; /* the LF of the last line */
        more = fn(s->name.len > 0 ? s->name.data : "", s->data.data, s->data.len, arg);
    }
    buf_clear(&s->data);
    buf_clear(&s->name);
    return more;
}

static bool is_field(const char *line, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(line, name, len) == 0;
}

static bool say_error(const char *value, size_t len, openai_sse_fn *fn, void *arg)
{
    struct buf copy;
    bool more;

    buf_init(&copy);
    buf_add(&copy, value, len);
    more = fn("error", copy.len > 0 ? copy.data : "", copy.len, arg);
    buf_fini(&copy);
    return more;
}

static bool read_line(struct openai_sse *s, const char *line, size_t len,
                      openai_sse_fn *fn, void *arg)
{
    const char *colon = len > 0 ? memchr(line, ':', len) : NULL;
    size_t name = colon ? (size_t)(colon - line) : len;
    const char *value = colon ? colon + 1 : line + len;
    size_t value_len = len - (size_t)(value - line);

    if (len == 0)
        return dispatch(s, fn, arg);
    if (value_len > 0 && *value == ' ') {
        value++;
        value_len--;
    }
    if (is_field(line, name, "data")) {
        buf_add(&s->data, value, value_len);
        buf_char(&s->data, '\n');
    } else if (is_field(line, name, "event")) {
        buf_clear(&s->name);
        buf_add(&s->name, value, value_len);
    } else if (is_field(line, name, "error")) {
        return say_error(value, value_len, fn, arg);
    }
    return true; /* comments, id, retry, and what nobody knows */
}

/* A whole line; false: stop. */
static bool end_line(struct openai_sse *s, const char *line, size_t len,
                     openai_sse_fn *fn, void *arg)
{
    bool more;

    if (s->line.len > 0) {
        buf_add(&s->line, line, len);
        line = s->line.data;
        len = s->line.len;
    }
    if (!s->begun && len >= MARK && memcmp(line, mark, MARK) == 0) {
        line += MARK;
        len -= MARK;
    }
    s->begun = true;
    more = s->line.failed || read_line(s, line, len, fn, arg);
    if (!s->line.failed)
        buf_clear(&s->line);
    return more;
}

static size_t line_length(const char *bytes, size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t until = lf ? (size_t)(lf - bytes) : len;
    const char *cr = until > 0 ? memchr(bytes, '\r', until) : NULL;

    return cr ? (size_t)(cr - bytes) : until;
}

static bool fits(const struct openai_sse *s)
{
    return !s->line.failed && !s->data.failed && !s->name.failed &&
           s->line.len <= s->max && s->data.len <= s->max && s->name.len <= s->max;
}

bool openai_sse_feed(struct openai_sse *s, const char *bytes, size_t len,
                     openai_sse_fn *fn, void *arg)
{
    while (len > 0 && fits(s)) {
        size_t line = line_length(bytes, len);
        if (s->cr && *bytes == '\n') {
            s->cr = false;
            bytes++;
            len--;
            continue;
        }
        s->cr = false;
        if (line == len) {
            buf_add(&s->line, bytes, len);
            break;
        }
        if (s->line.len + line > s->max)
            return false;
        s->cr = bytes[line] == '\r';
        if (!end_line(s, bytes, line, fn, arg))
            return true;
        bytes += line + 1;
        len -= line + 1;
    }
    return fits(s);
}
