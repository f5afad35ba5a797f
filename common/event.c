/* event: what an event says, found in one pass over its bytes. The fan-out path believes
 * nothing else about an event, so a doubt is always a refusal: a name that would have to
 * be decoded before it can be compared, a field given twice, another thread's name. */
#include "common/event.h"

#include "common/jsonscan.h"

#include <string.h>

enum field {
    FIELD_TYPE,
    FIELD_THREAD_ID,
    FIELD_CONTENT,
    FIELD_TS,
    FIELD_ID,
    FIELD_RUN_ID,
    FIELD_AGENT_ID,
    FIELD_MESSAGE_ID,
    FIELD_ATTEMPT,
    FIELD_UNKNOWN,
};

/* `key` stands between its quotes. */
static enum field field_of(const char *key, size_t len)
{
    switch (len) {
    case 2:
        if (memcmp(key, "ts", 2) == 0)
            return FIELD_TS;
        return memcmp(key, "id", 2) == 0 ? FIELD_ID : FIELD_UNKNOWN;
    case 4:
        return memcmp(key, "type", 4) == 0 ? FIELD_TYPE : FIELD_UNKNOWN;
    case 5:
        return memcmp(key, "runId", 5) == 0 ? FIELD_RUN_ID : FIELD_UNKNOWN;
    case 7:
        if (memcmp(key, "content", 7) == 0)
            return FIELD_CONTENT;
        if (memcmp(key, "agentId", 7) == 0)
            return FIELD_AGENT_ID;
        return memcmp(key, "attempt", 7) == 0 ? FIELD_ATTEMPT : FIELD_UNKNOWN;
    case 8:
        return memcmp(key, "threadId", 8) == 0 ? FIELD_THREAD_ID : FIELD_UNKNOWN;
    case 9:
        return memcmp(key, "messageId", 9) == 0 ? FIELD_MESSAGE_ID : FIELD_UNKNOWN;
    }
    return FIELD_UNKNOWN;
}

static enum event_type type_of(const char *name, size_t len)
{
    switch (len) {
    case 4:
        return memcmp(name, "done", 4) == 0 ? EVENT_DONE : EVENT_OTHER;
    case 5:
        if (memcmp(name, "token", 5) == 0)
            return EVENT_TOKEN;
        if (memcmp(name, "delta", 5) == 0)
            return EVENT_DELTA;
        return memcmp(name, "error", 5) == 0 ? EVENT_ERROR : EVENT_OTHER;
    case 6:
        return memcmp(name, "status", 6) == 0 ? EVENT_STATUS : EVENT_OTHER;
    }
    return EVENT_OTHER;
}

/* What is known so far. `bad` fields count only when the type is one of ours: an
 * application's own object may use the same words for something else. */
struct check {
    struct event_view view;
    unsigned seen, bad;       /* bits of enum field */
    enum event_check verdict; /* the first doubt that is one in every object */
};

static void doubt(struct check *c, enum event_check verdict)
{
    if (c->verdict == EVENT_OK)
        c->verdict = verdict;
}

static bool is_string(const struct jsonscan_piece *value)
{
    return value->at[0] == '"';
}

/* What stands between the quotes of a string without escapes. */
static bool take_name(const struct jsonscan_piece *value, struct span *ret_name)
{
    if (!is_string(value) || value->escaped)
        return false;
    *ret_name = (struct span){value->at + 1, value->len - 2};
    return true;
}

/* A whole number without sign, fraction or exponent, below 2^63. */
static bool take_integer(const struct jsonscan_piece *value, int64_t *ret_n)
{
    uint64_t n = 0;

    if (value->len > 19)
        return false;
    for (size_t i = 0; i < value->len; i++) {
        if (value->at[i] < '0' || value->at[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(value->at[i] - '0');
    }
    if (n > INT64_MAX)
        return false;
    *ret_n = (int64_t)n;
    return true;
}

static bool take_id(struct check *c, const struct jsonscan_piece *value)
{
    struct span name;

    if (!take_name(value, &name) || !event_id_parse(name.at, name.len, &c->view.id))
        return false;
    /* n = 0 is a position before the first event, never an event's own id */
    if (c->view.id.n == 0 || c->view.id.epoch == 0) {
        c->view.id = (struct event_id){0};
        return false;
    }
    c->view.id_span = (struct span){value->at, value->len};
    return true;
}

static bool take_ts(struct check *c, const struct jsonscan_piece *value)
{
    if (!take_integer(value, &c->view.ts))
        return false;
    c->view.ts_span = (struct span){value->at, value->len};
    return true;
}

static bool take_attempt(struct check *c, const struct jsonscan_piece *value)
{
    if (!take_integer(value, &c->view.attempt))
        return false;
    return c->view.attempt >= 1;
}

static bool take_content(struct check *c, const struct jsonscan_piece *value)
{
    c->view.content = (struct span){value->at, value->len};
    return is_string(value) || value->at[0] == '{';
}

static void take_type(struct check *c, const struct jsonscan_piece *value)
{
    if (take_name(value, &c->view.type_name))
        c->view.type = type_of(c->view.type_name.at, c->view.type_name.len);
    else if (is_string(value))
        doubt(c, EVENT_BAD_FIELD); /* might decode to one of ours */
}

static void take_field(struct check *c, enum field field,
                       const struct jsonscan_piece *value)
{
    bool ok = true;

    if (c->seen & (1u << field))
        doubt(c, EVENT_DUPLICATE_KEY);
    c->seen |= 1u << field;
    switch (field) {
    case FIELD_TYPE:
        take_type(c, value);
        break;
    case FIELD_THREAD_ID:
        if (!take_name(value, &c->view.thread_id))
            doubt(c, EVENT_BAD_FIELD);
        break;
    case FIELD_CONTENT:
        ok = take_content(c, value);
        break;
    case FIELD_TS:
        ok = take_ts(c, value);
        break;
    case FIELD_ID:
        ok = take_id(c, value);
        break;
    case FIELD_RUN_ID:
        ok = take_name(value, &c->view.run_id);
        break;
    case FIELD_AGENT_ID:
        ok = take_name(value, &c->view.agent_id);
        break;
    case FIELD_MESSAGE_ID:
        ok = take_name(value, &c->view.message_id);
        break;
    case FIELD_ATTEMPT:
        ok = take_attempt(c, value);
        break;
    case FIELD_UNKNOWN:
        break;
    }
    if (!ok)
        c->bad |= 1u << field;
}

static enum event_check scan_failed(enum jsonscan_result r)
{
    return r == JSONSCAN_DEEP ? EVENT_TOO_DEEP : EVENT_NOT_JSON;
}

static enum event_check scan_members(struct check *c, struct jsonscan *s)
{
    struct jsonscan_piece key, value;
    enum jsonscan_result r;

    while ((r = jsonscan_member(s, &key, &value)) == JSONSCAN_OK) {
        enum field field;
        if (key.escaped) {
            doubt(c, EVENT_BAD_FIELD); /* might decode to one of ours */
            continue;
        }
        field = field_of(key.at + 1, key.len - 2);
        if (field != FIELD_UNKNOWN)
            take_field(c, field, &value);
    }
    if (r != JSONSCAN_END)
        return scan_failed(r);
    return s->at == s->end ? EVENT_OK : EVENT_NOT_JSON;
}

/* The JSON is valid: is it an event of this thread? */
static enum event_check judge(struct check *c, const char *thread_id, size_t len)
{
    const struct event_view *v = &c->view;

    if (c->verdict != EVENT_OK)
        return c->verdict;
    if (thread_id && v->thread_id.at &&
        (v->thread_id.len != len || memcmp(v->thread_id.at, thread_id, len) != 0))
        return EVENT_WRONG_THREAD;
    if (v->type == EVENT_OTHER) {
        if (c->bad & (1u << FIELD_ATTEMPT))
            c->view.attempt = 0;
        return EVENT_OK;
    }
    if (c->bad || (v->type == EVENT_TOKEN && v->content.at && v->content.at[0] != '"'))
        return EVENT_BAD_FIELD;
    return EVENT_OK;
}

enum event_check event_check(const char *json, size_t len, const char *thread_id,
                             size_t thread_id_len, struct event_view *ret_view)
{
    struct check c = {.verdict = EVENT_OK};
    struct jsonscan s;
    enum event_check r;

    if (len > EVENT_MAX_BYTES)
        return EVENT_TOO_LARGE;
    jsonscan_init(&s, json, len, EVENT_MAX_DEPTH);
    jsonscan_space(&s);
    if (s.at < s.end && *s.at != '{') {
        struct jsonscan_piece value;
        enum jsonscan_result scan = jsonscan_value(&s, &value);
        if (scan != JSONSCAN_OK)
            return scan_failed(scan);
        return s.at == s.end ? EVENT_NOT_OBJECT : EVENT_NOT_JSON;
    }
    r = scan_members(&c, &s);
    if (r == EVENT_OK)
        r = judge(&c, thread_id, thread_id_len);
    if (r != EVENT_OK)
        return r;
    c.view.has_line_break = s.line_break;
    *ret_view = c.view;
    return EVENT_OK;
}

const char *event_check_text(enum event_check c)
{
    switch (c) {
    case EVENT_OK:
        return "ok";
    case EVENT_TOO_LARGE:
        return "too large";
    case EVENT_NOT_JSON:
        return "not JSON";
    case EVENT_NOT_OBJECT:
        return "not an object";
    case EVENT_TOO_DEEP:
        return "nested too deeply";
    case EVENT_DUPLICATE_KEY:
        return "a field given twice";
    case EVENT_BAD_FIELD:
        return "a field of the wrong kind";
    case EVENT_WRONG_THREAD:
        return "another thread's";
    }
    return "?";
}
