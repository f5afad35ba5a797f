/* stream: see stream.h. A line was here when its last byte was. */
#include "cli/stream.h"

#include "common/json.h"

#include <stdio.h>
#include <string.h>

/* Of the event that is being read. */
struct reading {
    struct stream *s;
    char name[32];
    const char *data; /* of its only data line */
    size_t data_len;
};

static bool line_is(const char *line, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(line, text, len) == 0;
}

static bool field(const char *line, size_t len, const char *name, const char **ret,
                  size_t *ret_len)
{
    size_t n = strlen(name);

    if (len < n || memcmp(line, name, n) != 0)
        return false;
    if (len > n && line[n] == ' ')
        n++;
    *ret = line + n;
    *ret_len = len - n;
    return true;
}

static void read_piece(struct stream *s, const json_t *data, int64_t us)
{
    const json_t *ms = json_object_get(data, "ms");

    if (s->count < STREAM_PIECES_MAX && json_is_integer(ms))
        s->pieces[s->count++] =
            (struct stream_piece){.sent_ms = json_integer_value(ms), .came_us = us};
}

static void read_event(struct reading *r, int64_t us)
{
    struct stream *s = r->s;
    json_t *data = json_read(r->data, r->data_len, 0, NULL);
    const char *reason = json_string_value(json_object_get(data, "reason"));

    if (!r->name[0]) {
        read_piece(s, data, us);
    } else if (strcmp(r->name, "hello") == 0 && !s->hello && json_is_object(data)) {
        s->hello = json_incref(data);
        s->hello_us = us;
    } else if (strcmp(r->name, "end") == 0 && !s->ended) {
        s->ended = true;
        s->ended_us = us;
    } else if (strcmp(r->name, "busy") == 0) {
        snprintf(s->busy, sizeof(s->busy), "%s", reason ? reason : "no reason");
    } else if (strcmp(r->name, "bye") == 0) {
        s->bye = true;
    }
    json_decref(data);
    r->name[0] = '\0';
    r->data = NULL;
}

static void read_line(struct reading *r, const char *line, size_t len, int64_t us)
{
    struct stream *s = r->s;
    const char *value;
    size_t n;

    if (len == 0)
        read_event(r, us);
    else if (line_is(line, len, ":threadcast"))
        s->greeted = true;
    else if (line_is(line, len, ":keepalive") && s->keepalives < STREAM_KEEPALIVES_MAX)
        s->keepalives_us[s->keepalives++] = us;
    else if (field(line, len, "event:", &value, &n))
        snprintf(r->name, sizeof(r->name), "%.*s", (int)n, value);
    else if (field(line, len, "data:", &value, &n)) {
        r->data = value;
        r->data_len = n;
    }
}

void stream_read(const struct answer *a, struct stream *ret)
{
    struct reading r = {.s = ret};
    const char *at = a->body.data, *end = at ? at + a->body.len : NULL;
    size_t arrival = 0;

    *ret = (struct stream){.greeted = false};
    while (at && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            return;
        size_t through = (size_t)(stop + 1 - a->body.data);
        while (arrival < a->arrival_count && a->arrivals[arrival].bytes < through)
            arrival++;
        int64_t us = arrival < a->arrival_count ? a->arrivals[arrival].us : a->ended_us;
        size_t len = (size_t)(stop - at);
        read_line(&r, at, len && at[len - 1] == '\r' ? len - 1 : len, us);
        at = stop + 1;
    }
}

void stream_fini(struct stream *s)
{
    json_decref(s->hello);
    s->hello = NULL;
}

const char *stream_hello_text(const struct stream *s, const char *name)
{
    return json_string_value(json_object_get(s->hello, name));
}

int64_t stream_hello_number(const struct stream *s, const char *name)
{
    return json_integer_value(json_object_get(s->hello, name));
}

bool stream_hello_header(const struct stream *s, const char *name)
{
    const json_t *list = json_object_get(s->hello, "headers");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));
        if (item && strcmp(item, name) == 0)
            return true;
    }
    return false;
}
