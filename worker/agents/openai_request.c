/* openai_request: members that nobody has said are not sent, so that a server's own
 * defaults hold. */
#include "worker/agents/openai_request.h"

#include "common/json.h"
#include "common/utf8.h"
#include "worker/agents/openai_settings.h"

#include <stdlib.h>
#include <string.h>

void openai_request_url(const char *base, struct buf *out)
{
    size_t len = strcspn(base, "?");
    const char *host = strstr(base, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;

    while (len > 0 && base[len - 1] == '/')
        len--;
    buf_add(out, base, len);
    if (!path || path >= base + len)
        buf_str(out, "/v1");
    buf_str(out, "/chat/completions");
    buf_str(out, base + strcspn(base, "?"));
}

int64_t openai_tokens(const char *text, size_t len)
{
    int64_t ascii = 0, others = 0;

    for (size_t i = 0; i < len; i++) {
        ascii += (unsigned char)text[i] < 0x80;
        others += (unsigned char)text[i] >= 0xC0; /* the first byte of a character */
    }
    return (ascii + 3) / 4 + others + 4;
}

/* --- the conversation ------------------------------------------------------------- */

static bool add_message(json_t *messages, const char *role, const char *text)
{
    return json_array_append_new(
               messages, json_pack("{s:s,s:s}", "role", role, "content", text)) == 0;
}

static const char *role_of(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));

    if (!role || json_string_length(json_object_get(message, "content")) == 0)
        return NULL;
    return strcmp(role, "user") == 0        ? "user"
           : strcmp(role, "assistant") == 0 ? "assistant"
           : strcmp(role, "system") == 0    ? "system"
                                            : NULL;
}

/* The first message that is kept: of those behind it all are. */
static size_t kept_from(const json_t *history, int64_t messages, int64_t tokens)
{
    size_t from = json_array_size(history);

    while (from > 0) {
        const json_t *message = json_array_get(history, from - 1);
        const json_t *content = json_object_get(message, "content");
        if (role_of(message)) {
            tokens -=
                openai_tokens(json_string_value(content), json_string_length(content));
            if (--messages < 0 || tokens < 0)
                break;
        }
        from--;
    }
    /* an answer whose question is cut off confuses some models' templates */
    while (from > 0 && from < json_array_size(history) &&
           strcmp("assistant", role_of(json_array_get(history, from))
                                   ? role_of(json_array_get(history, from))
                                   : "") == 0)
        from++;
    return from;
}

static json_t *messages_of(const struct openai_settings *s, const json_t *history,
                           const char *prompt)
{
    json_t *messages = json_array();
    int64_t tokens = s->history_tokens >= 0 ? s->history_tokens : INT64_MAX / 2;
    bool ok = messages != NULL;

    if (s->system && *s->system) {
        ok = ok && add_message(messages, "system", s->system);
        tokens -= openai_tokens(s->system, strlen(s->system));
    }
    tokens -= openai_tokens(prompt, strlen(prompt));
    for (size_t i = kept_from(history, s->history_messages, tokens);
         i < json_array_size(history) && ok; i++) {
        const json_t *message = json_array_get(history, i);
        const char *role = role_of(message);
        if (role)
            ok = add_message(messages, role,
                             json_string_value(json_object_get(message, "content")));
    }
    if (ok && add_message(messages, "user", prompt))
        return messages;
    json_decref(messages);
    return NULL;
}

/* --- all of it -------------------------------------------------------------------- */

static bool set(json_t *root, const char *name, json_t *value)
{
    return json_object_set_new(root, name, value) == 0;
}

/* `null` takes a member out: for servers that refuse one. */
static bool add_extra(json_t *root, const json_t *extra)
{
    const char *name;
    json_t *value;
    bool ok = true;

    json_object_foreach((json_t *)extra, name, value)
    {
        if (json_is_null(value))
            json_object_del(root, name);
        else
            ok = ok && json_object_set(root, name, value) == 0;
    }
    return ok;
}

static bool fill(json_t *root, const struct openai_settings *s, const json_t *history,
                 const char *prompt)
{
    return root && (!s->model || set(root, "model", json_string(s->model))) &&
           set(root, "messages", messages_of(s, history, prompt)) &&
           set(root, "stream", json_boolean(s->stream)) &&
           (!s->stream ||
            set(root, "stream_options", json_pack("{s:b}", "include_usage", 1))) &&
           (s->temperature < 0 || set(root, "temperature", json_real(s->temperature))) &&
           (s->max_tokens < 0 || set(root, "max_tokens", json_integer(s->max_tokens))) &&
           add_extra(root, s->extra_body);
}

bool openai_request_body(const struct openai_settings *s, const char *history,
                         const char *prompt, struct buf *out)
{
    json_t *before = json_read(history, history ? strlen(history) : 0, 0, NULL);
    json_t *root = json_object();
    char *text = NULL;

    if ((before || !history) && fill(root, s, before, prompt))
        text = json_text(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (text)
        buf_str(out, text);
    free(text);
    json_decref(root);
    json_decref(before);
    return text && !out->failed;
}

void openai_question_init(struct openai_question *q)
{
    buf_init(&q->url);
    buf_init(&q->body);
    buf_init(&q->bearer);
}

void openai_question_fini(struct openai_question *q)
{
    if (q->bearer.len > 0)
        explicit_bzero(q->bearer.data, q->bearer.len);
    buf_fini(&q->url);
    buf_fini(&q->body);
    buf_fini(&q->bearer);
}

bool openai_question_make(struct openai_question *q, const struct openai_settings *s,
                          const char *history, const char *prompt)
{
    openai_request_url(s->base_url, &q->url);
    if (s->api_key) {
        buf_str(&q->bearer, "Bearer ");
        buf_str(&q->bearer, s->api_key);
    }
    return openai_request_body(s, history, prompt, &q->body) && !q->url.failed &&
           !q->bearer.failed;
}
