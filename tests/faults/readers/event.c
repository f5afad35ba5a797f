/* event: see the header. */
#include "tests/faults/readers/event.h"

#include "tests/faults/readers/mem.h"

#include <string.h>

enum { SLOTS = 2048 };

struct slot {
    uint64_t hash;
    char *data;
    size_t len;
    struct event event;
};

struct event_cache {
    struct book *book;
    struct slot slots[SLOTS];
};

struct event_cache *event_cache_new(struct book *book)
{
    struct event_cache *c = mem_zero(sizeof(*c));

    c->book = book;
    return c;
}

static void slot_clear(struct slot *s)
{
    json_decref(s->event.root);
    free(s->data);
    *s = (struct slot){0};
}

void event_cache_free(struct event_cache *c)
{
    for (size_t i = 0; c && i < SLOTS; i++)
        slot_clear(&c->slots[i]);
    free(c);
}

const char *event_type_name(enum event_type type)
{
    switch (type) {
    case EVENT_OTHER:
        return "other";
    case EVENT_TOKEN:
        return "token";
    case EVENT_STATUS:
        return "status";
    case EVENT_DELTA:
        return "delta";
    case EVENT_DONE:
        return "done";
    case EVENT_ERROR:
        return "error";
    }
    return "";
}

/* --- fields ----------------------------------------------------------------------- */

static bool read_number(const char *text, size_t len, uint64_t *ret)
{
    uint64_t value = 0;

    if (len == 0 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool event_id_read(const char *text, size_t len, struct event_id *ret_id)
{
    const char *dash = memchr(text, '-', len);

    return dash && read_number(text, (size_t)(dash - text), &ret_id->epoch) &&
           read_number(dash + 1, len - (size_t)(dash - text) - 1, &ret_id->n);
}

static enum event_type type_of(const char *name)
{
    static const struct {
        const char *name;
        enum event_type type;
    } types[] = {{"token", EVENT_TOKEN},
                 {"status", EVENT_STATUS},
                 {"delta", EVENT_DELTA},
                 {"done", EVENT_DONE},
                 {"error", EVENT_ERROR}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    return EVENT_OTHER;
}

static enum event_status status_of(const json_t *content)
{
    const char *name = json_string_value(json_object_get(content, "status"));

    if (!name)
        return STATUS_OTHER;
    if (strcmp(name, "queued") == 0)
        return STATUS_QUEUED;
    if (strcmp(name, "started") == 0)
        return STATUS_STARTED;
    return strcmp(name, "rewind") == 0 ? STATUS_REWIND : STATUS_OTHER;
}

/* What a numbered event, one that Threadcast's own script let through, must have. */
static const char *content_read(struct book *book, struct event *e, const json_t *content)
{
    const char *word = NULL;

    if (e->type == EVENT_TOKEN) {
        if (!json_is_string(content))
            return "a token's content is no string";
        e->text = json_string_value(content);
        e->text_len = json_string_length(content);
    } else if (e->type == EVENT_STATUS) {
        e->status = status_of(content);
    } else if (e->type == EVENT_DONE) {
        word = json_string_value(json_object_get(content, "finishReason"));
    } else if (e->type == EVENT_ERROR) {
        word = json_string_value(json_object_get(content, "code"));
    }
    e->code = word ? book_word(book, word) : NULL;
    return NULL;
}

static const char *names_read(struct book *book, struct event *e, const json_t *root)
{
    const json_t *attempt = json_object_get(root, "attempt");

    e->thread_id = json_string_value(json_object_get(root, "threadId"));
    e->run_id = json_string_value(json_object_get(root, "runId"));
    if (e->thread_id)
        e->thread = book_thread(book, e->thread_id, strlen(e->thread_id), false);
    if (e->run_id && e->thread)
        e->run = book_run(book, e->thread, e->run_id, strlen(e->run_id));
    e->attempt = json_integer_value(attempt);
    if (e->run && json_string_value(json_object_get(root, "messageId")))
        e->message_id =
            book_word(book, json_string_value(json_object_get(root, "messageId")));
    if (e->run_id && !id_none(e->id) && (e->attempt < 1 || e->attempt > UINT32_MAX))
        return "an event of a run has no attempt";
    return NULL;
}

static const char *event_fill(struct book *book, struct event *e, const json_t *root)
{
    const char *type = json_string_value(json_object_get(root, "type"));
    const json_t *ts = json_object_get(root, "ts");

    if (!json_is_object(root))
        return "the data is no JSON object";
    e->id_text = json_string_value(json_object_get(root, "id"));
    if (e->id_text &&
        (!event_id_read(e->id_text, strlen(e->id_text), &e->id) || !e->id.n))
        return "the event's id is none";
    if (!type)
        return "the event has no type";
    e->type = type_of(type);
    e->ts_ms = json_integer_value(ts);
    const char *why = names_read(book, e, root);
    if (why || id_none(e->id))
        return why; /* a bare event may be anything that is an object */
    if (e->type == EVENT_OTHER || !e->thread_id || !json_is_integer(ts))
        return "a numbered event has another type, no threadId or no ts";
    return content_read(book, e, json_object_get(root, "content"));
}

/* --- all of it -------------------------------------------------------------------- */

static bool utf8_ok(const char *text, size_t len)
{
    json_t *string = json_stringn(text, len); /* jansson's own check */

    json_decref(string);
    return string != NULL;
}

static uint64_t hash_of(const char *data, size_t len)
{
    uint64_t hash = len, word;

    for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    for (; len > 0; data++, len--)
        hash = (hash ^ (unsigned char)*data) * 0x100000001b3u;
    return hash ^ (hash >> 31);
}

static bool is_cached(const struct slot *s, uint64_t hash, const char *data, size_t len)
{
    return s->data && s->hash == hash && s->len == len &&
           memcmp(s->data, data, len) == 0 &&
           (s->event.thread || !s->event.thread_id); /* somebody may read it by now */
}

const struct event *event_read(struct event_cache *c, const char *data, size_t len,
                               const char **ret_why)
{
    uint64_t hash = hash_of(data, len);
    struct slot *s = &c->slots[hash % SLOTS];
    json_error_t error;

    if (is_cached(s, hash, data, len))
        return &s->event;
    slot_clear(s);
    s->event.root =
        json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!s->event.root) {
        *ret_why = utf8_ok(data, len) ? "the data is no JSON" : "the data is no UTF-8";
        return NULL;
    }
    *ret_why = event_fill(c->book, &s->event, s->event.root);
    if (*ret_why) {
        slot_clear(s);
        return NULL;
    }
    s->hash = hash;
    s->len = len;
    s->data = mem_some(malloc(len + 1));
    memcpy(s->data, data, len);
    return &s->event;
}
