/* legacy_entry: see legacy_entry.h. Only the first level of an entry is looked at, in one
 * pass; what cannot be understood for certain is not passed on. */
#include "bridge/legacy_entry.h"

#include "bridge/msg.h"
#include "common/buf.h"
#include "common/jsonscan.h"

#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 128 }; /* tool results are nested as their tools like */

static const char *const end_texts[] = {
    [LEGACY_RUNNING] = "running",
    [LEGACY_COMPLETED] = "completed",
    [LEGACY_FAILED] = "failed",
    [LEGACY_STOPPED] = "stopped",
};

static const char *const word_texts[] = {
    [LEGACY_NO_WORD] = "",
    [LEGACY_STOP] = "STOP",
    [LEGACY_END_STREAM] = "END_STREAM",
    [LEGACY_ERROR] = "ERROR",
};

const char *legacy_end_text(enum legacy_end end)
{
    return end_texts[end];
}

const char *legacy_word_text(enum legacy_word word)
{
    return word_texts[word];
}

enum legacy_end legacy_word_end(enum legacy_word word)
{
    switch (word) {
    case LEGACY_NO_WORD:
        break;
    case LEGACY_STOP:
        return LEGACY_STOPPED;
    case LEGACY_END_STREAM:
        return LEGACY_COMPLETED;
    case LEGACY_ERROR:
        return LEGACY_FAILED;
    }
    return LEGACY_RUNNING;
}

static bool is(struct span s, const char *text)
{
    return s.at && s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* --- reading ------------------------------------------------------------------------ */

/* The members of the first level that mean something to us. */
struct members {
    struct span type, status, thread, thread_camel, command;
};

static struct span *member_of(struct members *m, const struct jsonscan_piece *key)
{
    struct span name = {key->at + 1, key->len - 2};

    if (is(name, "type"))
        return &m->type;
    if (is(name, "status"))
        return &m->status;
    if (is(name, "thread_id"))
        return &m->thread;
    if (is(name, "threadId"))
        return &m->thread_camel;
    return is(name, "command") ? &m->command : NULL;
}

/* A page's JSON.parse takes the last of two equal keys; so do we. */
static bool read_members(const char *json, size_t len, struct members *ret,
                         bool *ret_line_break)
{
    struct jsonscan s;
    struct jsonscan_piece key, value;
    enum jsonscan_result r;

    jsonscan_init(&s, json, len, DEPTH_MAX);
    while ((r = jsonscan_member(&s, &key, &value)) == JSONSCAN_OK) {
        if (key.escaped)
            return false; /* might decode to one of those above */
        struct span *member = member_of(ret, &key);
        if (!member)
            continue;
        *member = (struct span){NULL, 0};
        if (value.at[0] == '"' && value.escaped)
            return false;
        if (value.at[0] == '"')
            *member = (struct span){value.at + 1, value.len - 2};
    }
    *ret_line_break = s.line_break;
    return r == JSONSCAN_END && s.at == s.end;
}

static void read_end(const struct members *m, enum legacy_family family,
                     struct legacy_entry *ret)
{
    if (is(m->type, "status")) {
        for (int end = LEGACY_COMPLETED; end <= LEGACY_STOPPED; end++)
            if (is(m->status, end_texts[end]))
                ret->end = (enum legacy_end)end;
        ret->told = ret->end != LEGACY_RUNNING;
        ret->error = is(m->status, "error");
        if (ret->error && family == LEGACY_NEWEST)
            ret->end = LEGACY_FAILED;
    } else if (family == LEGACY_NEWER) {
        if (is(m->type, "completion"))
            ret->end = LEGACY_COMPLETED;
        else if (is(m->type, "error"))
            ret->end = LEGACY_FAILED;
    }
}

bool legacy_entry_read(const char *json, size_t len, enum legacy_family family,
                       struct legacy_entry *ret)
{
    struct members m = {0};

    *ret = (struct legacy_entry){.end = LEGACY_RUNNING};
    if (!read_members(json, len, &m, &ret->has_line_break))
        return false;
    ret->thread = m.thread.at ? m.thread : m.thread_camel;
    read_end(&m, family, ret);
    return true;
}

static bool means(struct span s, const char *a, const char *b, const char *c)
{
    const char *const words[] = {a, b, c};

    for (size_t i = 0; i < 3; i++)
        if (s.at && s.len == strlen(words[i]) && !strncasecmp(s.at, words[i], s.len))
            return true;
    return false;
}

static enum legacy_word word_of(struct span s)
{
    if (means(s, "STOP", "stopped", "cancel"))
        return LEGACY_STOP;
    if (means(s, "END_STREAM", "completed", "completion"))
        return LEGACY_END_STREAM;
    return means(s, "ERROR", "failed", "failure") ? LEGACY_ERROR : LEGACY_NO_WORD;
}

/* The classic's words are bare; a fork's come as objects too. */
enum legacy_word legacy_word_read(const char *data, size_t len)
{
    struct members m = {0};
    bool line_break;

    for (int word = LEGACY_STOP; word <= LEGACY_ERROR; word++)
        if (is((struct span){data, len}, word_texts[word]))
            return (enum legacy_word)word;
    if (len > LEGACY_ENTRY_MAX || !read_members(data, len, &m, &line_break))
        return LEGACY_NO_WORD;
    if (m.command.at)
        return word_of(m.command);
    return word_of(m.status.at ? m.status : m.type);
}

/* --- saying ------------------------------------------------------------------------- */

static struct msg *framed(const char *json, size_t len, bool has_line_break)
{
    struct event_view view = {.type = EVENT_OTHER, .has_line_break = has_line_break};

    return msg_event(json, len, &view, NULL);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* `{"a": 1}` becomes `{"a": 1, "_event_id": "<id>"}`. */
static struct msg *with_id(const char *json, size_t len, const struct legacy_entry *entry,
                           const char *event_id)
{
    struct buf b;
    struct msg *m = NULL;
    size_t end = len - 1, inside;

    while (json[end] != '}')
        end--;
    inside = end;
    while (is_space(json[inside - 1]))
        inside--;
    buf_init(&b);
    buf_add(&b, json, end);
    buf_printf(&b, "%s\"_event_id\": \"%s\"}", json[inside - 1] == '{' ? "" : ", ",
               event_id);
    if (!b.failed)
        m = framed(b.data, b.len, entry->has_line_break);
    buf_fini(&b);
    return m;
}

struct msg *legacy_entry_msg(const char *json, size_t len,
                             const struct legacy_entry *entry, const char *event_id)
{
    return event_id ? with_id(json, len, entry, event_id)
                    : framed(json, len, entry->has_line_break);
}

struct msg *legacy_status_msg(const char *status, const char *message)
{
    struct buf b;
    struct msg *m = NULL;

    buf_init(&b);
    buf_printf(&b, "{\"type\": \"status\", \"status\": \"%s\"", status);
    if (message) {
        buf_str(&b, ", \"message\": ");
        buf_json(&b, message, strlen(message));
    }
    buf_char(&b, '}');
    if (!b.failed)
        m = framed(b.data, b.len, false);
    buf_fini(&b);
    return m;
}

struct msg *legacy_end_msg(enum legacy_end end)
{
    static const char *const messages[] = {
        [LEGACY_RUNNING] = NULL,
        /* to the letter: pages know this line as a whole */
        [LEGACY_COMPLETED] = "Agent run completed successfully",
        [LEGACY_FAILED] = "Agent run failed",
        [LEGACY_STOPPED] = "Agent run was stopped",
    };

    return legacy_status_msg(end_texts[end], messages[end]);
}

struct msg *legacy_ping_msg(void)
{
    static const char ping[] = "{\"type\": \"ping\"}";

    return framed(ping, sizeof(ping) - 1, false);
}

struct msg *legacy_close_msg(void)
{
    static const char text[] = "event: close\ndata: stream-ended\n\n";

    return msg_text(text, sizeof(text) - 1);
}
