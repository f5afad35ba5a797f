/* openai_settings: one table of members for the file and for messages. A complaint names
 * the member, never the value. */
#include "worker/agents/openai_settings.h"

#include "common/fetch.h"
#include "common/json.h"
#include "worker/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 4096, TEXT_MAX = 65536 };

enum kind { TEXT, URL, KEY_FILE, KEY_ENV, REAL, NUMBER, FLAG, OBJECT, NAMES };

struct member {
    const char *name;
    enum kind kind;
    size_t offset;
    int64_t min, max;
    int64_t allow; /* the bit with which a message may set it; 0: never */
};

#define FIELD(name) offsetof(struct openai_settings, name)
static const struct member members[] = {
    {"base_url", URL, FIELD(base_url), 0, 0, 0},
    {"api_key_file", KEY_FILE, FIELD(api_key), 0, 0, 0},
    {"api_key_env", KEY_ENV, FIELD(api_key), 0, 0, 0},
    {"model", TEXT, FIELD(model), 1, 256, OPENAI_ALLOW_MODEL},
    {"system", TEXT, FIELD(system), 0, TEXT_MAX, OPENAI_ALLOW_SYSTEM},
    {"temperature", REAL, FIELD(temperature), 0, 2, OPENAI_ALLOW_TEMPERATURE},
    {"max_tokens", NUMBER, FIELD(max_tokens), 1, 10000000, OPENAI_ALLOW_MAX_TOKENS},
    {"extra_body", OBJECT, FIELD(extra_body), 0, 0, OPENAI_ALLOW_EXTRA_BODY},
    {"history_messages", NUMBER, FIELD(history_messages), 0, 100, 0},
    {"history_tokens", NUMBER, FIELD(history_tokens), 1, 10000000, 0},
    {"connect_ms", NUMBER, FIELD(connect_ms), 1, 600000, 0},
    {"first_byte_ms", NUMBER, FIELD(first_byte_ms), 1, 3600000, 0},
    {"stall_ms", NUMBER, FIELD(stall_ms), 1, 3600000, 0},
    {"timeout_ms", NUMBER, FIELD(timeout_ms), 1, 86400000, 0},
    {"retries", NUMBER, FIELD(retries), 0, 100, 0},
    {"retry_max_ms", NUMBER, FIELD(retry_max_ms), 1, 3600000, 0},
    {"max_bytes", NUMBER, FIELD(max_bytes), 1024, 1024 * 1024 * 1024, 0},
    {"max_events", NUMBER, FIELD(max_events), 1, 1000000000, 0},
    {"pace", NUMBER, FIELD(pace), 0, 100000, 0},
    {"stream", FLAG, FIELD(stream), 0, 0, 0},
    {"allow", NAMES, FIELD(allow), 0, 0, 0},
};
enum { MEMBERS = sizeof(members) / sizeof(members[0]) };

/* What the agent itself says to a provider: not for a message's extra_body. */
static const char *const own[] = {
    "model",  "messages",         "stream",      "stream_options",
    "n",      "max_tokens",       "temperature", "max_completion_tokens",
    "prompt", "max_output_tokens"};

static void *field(struct openai_settings *s, const struct member *m)
{
    return (char *)s + m->offset;
}

static bool is_counted(const struct member *m)
{
    return m->kind == NUMBER || m->kind == FLAG || m->kind == NAMES;
}

static const struct member *find(const char *name)
{
    for (size_t i = 0; i < MEMBERS; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

/* --- a layer ---------------------------------------------------------------------- */

void openai_settings_init(struct openai_settings *s)
{
    *s = (struct openai_settings){.base_url = NULL};
    s->temperature = -1;
    for (size_t i = 0; i < MEMBERS; i++)
        if (is_counted(&members[i]))
            *(int64_t *)field(s, &members[i]) = -1;
}

void openai_settings_fini(struct openai_settings *s)
{
    free(s->base_url);
    free(s->api_key);
    free(s->model);
    free(s->system);
    json_decref(s->extra_body);
    openai_settings_init(s);
}

static bool set_text(char **at, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (!text)
        return true;
    if (!copy)
        return false;
    free(*at);
    *at = copy;
    return true;
}

static bool set_object(json_t **at, const json_t *object)
{
    json_t *merged;

    if (!object)
        return true;
    merged = *at ? json_copy(*at) : json_object();
    if (!merged || json_object_update(merged, (json_t *)object) < 0) {
        json_decref(merged);
        return false;
    }
    json_decref(*at);
    *at = merged;
    return true;
}

bool openai_settings_over(struct openai_settings *s, const struct openai_settings *over)
{
    if (over->base_url &&
        !over->api_key) { /* a key is for the address it was given for */
        free(s->api_key);
        s->api_key = NULL;
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        const int64_t *n = field((struct openai_settings *)over, &members[i]);
        if (is_counted(&members[i]) && *n >= 0)
            *(int64_t *)field(s, &members[i]) = *n;
    }
    if (over->temperature >= 0)
        s->temperature = over->temperature;
    return set_text(&s->base_url, over->base_url) &&
           set_text(&s->api_key, over->api_key) && set_text(&s->model, over->model) &&
           set_text(&s->system, over->system) &&
           set_object(&s->extra_body, over->extra_body);
}

bool openai_settings_standard(struct openai_settings *s, const struct worker_conf *conf)
{
    const struct openai_settings options = {
        .base_url = conf->openai_base_url,
        .api_key = conf->openai_api_key,
        .model = conf->openai_model,
        .temperature = -1,
        .max_tokens = -1,
        .history_messages = 100,
        .history_tokens = -1,
        .connect_ms = 10000,
        .first_byte_ms = 120000,
        .stall_ms = 60000,
        .timeout_ms = 600000,
        .retries = 2,
        .retry_max_ms = 60000,
        .max_bytes = 64 * 1024 * 1024,
        .max_events = 1000000,
        .pace = 50,
        .stream = 1,
        .allow = OPENAI_ALLOW_TEMPERATURE | OPENAI_ALLOW_MAX_TOKENS,
    };

    return openai_settings_over(s, &options);
}

/* --- a member --------------------------------------------------------------------- */

static bool refuse(const struct member *m, const char *reason, struct buf *err)
{
    buf_printf(err, "%s: %s", m->name, reason);
    return false;
}

static bool refuse_range(const struct member *m, struct buf *err)
{
    buf_printf(err, "%s: must be %s between %lld and %lld", m->name,
               m->kind == TEXT   ? "a text whose length is"
               : m->kind == REAL ? "a number"
                                 : "a whole number",
               (long long)m->min, (long long)m->max);
    return false;
}

static bool is_in(const struct member *m, int64_t n)
{
    return n >= m->min && n <= m->max;
}

bool openai_key_check(const char *key, struct buf *err)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < len; i++) {
        if (key[i] <= ' ' || key[i] > '~') {
            buf_str(err, "must be printable ASCII without spaces");
            return false;
        }
    }
    if (len > 0 && len <= KEY_MAX)
        return true;
    buf_str(err, "must have 1 to 4096 characters");
    return false;
}

static bool read_key(struct openai_settings *s, const struct member *m, const char *key,
                     struct buf *err)
{
    struct buf why;
    bool ok;

    if (s->api_key)
        return refuse(m, "there is a key already", err);
    buf_init(&why);
    ok = openai_key_check(key, &why);
    if (!ok)
        refuse(m, why.len > 0 ? why.data : "no memory", err);
    buf_fini(&why);
    return ok && set_text(&s->api_key, key);
}

static bool read_key_file(struct openai_settings *s, const struct member *m,
                          const char *path, struct buf *err)
{
    char key[KEY_MAX + 3] = "";
    FILE *f = fopen(path, "re");
    size_t len;
    bool ok;

    if (!f)
        return refuse(m, strerror(errno), err);
    len = fread(key, 1, sizeof(key) - 1, f);
    fclose(f);
    while (len > 0 && (key[len - 1] == '\n' || key[len - 1] == '\r'))
        key[--len] = '\0';
    ok =
        memchr(key, '\0', len) ? refuse(m, "holds a NUL", err) : read_key(s, m, key, err);
    explicit_bzero(key, sizeof(key));
    return ok;
}

static bool read_text(struct openai_settings *s, const struct member *m,
                      const json_t *value, struct buf *err)
{
    const char *text = json_string_value(value);
    struct buf why;
    bool ok;

    if (!text)
        return refuse(m, "must be a text", err);
    if (m->kind == KEY_FILE)
        return read_key_file(s, m, text, err);
    if (m->kind == KEY_ENV) {
        text = getenv(text);
        return text ? read_key(s, m, text, err)
                    : refuse(m, "there is no such variable", err);
    }
    if (m->kind == TEXT)
        return is_in(m, (int64_t)json_string_length(value)) ? set_text(field(s, m), text)
                                                            : refuse_range(m, err);
    buf_init(&why);
    ok = fetch_url_check(text, &why);
    if (!ok)
        refuse(m, why.len > 0 ? why.data : "no memory", err);
    buf_fini(&why);
    return ok && set_text(field(s, m), text);
}

static bool read_names(int64_t *ret, const struct member *m, const json_t *value,
                       struct buf *err)
{
    size_t i;
    const json_t *name;

    if (!json_is_array(value))
        return refuse(m, "must be a list of members that a message may set", err);
    *ret = 0;
    json_array_foreach((json_t *)value, i, name)
    {
        const struct member *found =
            json_is_string(name) ? find(json_string_value(name)) : NULL;
        if (!found || !found->allow)
            return refuse(
                m, "may hold model, system, temperature, max_tokens, extra_body", err);
        *ret |= found->allow;
    }
    return true;
}

static bool read_member(struct openai_settings *s, const struct member *m,
                        const json_t *value, struct buf *err)
{
    double real = json_number_value(value);

    switch (m->kind) {
    case TEXT:
    case URL:
    case KEY_FILE:
    case KEY_ENV:
        return read_text(s, m, value, err);
    case REAL:
        if (!json_is_number(value) || !(real >= (double)m->min && real <= (double)m->max))
            return refuse_range(m, err);
        *(double *)field(s, m) = real;
        return true;
    case NUMBER:
        if (!json_is_integer(value) || !is_in(m, json_integer_value(value)))
            return refuse_range(m, err);
        *(int64_t *)field(s, m) = json_integer_value(value);
        return true;
    case FLAG:
        if (!json_is_boolean(value))
            return refuse(m, "must be true or false", err);
        *(int64_t *)field(s, m) = json_is_true(value);
        return true;
    case OBJECT:
        return json_is_object(value) ? set_object(field(s, m), value)
                                     : refuse(m, "must be an object", err);
    case NAMES:
        return read_names(field(s, m), m, value, err);
    }
    return false;
}

/* --- the file --------------------------------------------------------------------- */

void *openai_options_new(const char *json, size_t len, struct buf *err)
{
    struct openai_settings *s = malloc(sizeof(*s));
    json_t *root = json_read(json, len, JSON_REJECT_DUPLICATES, NULL), *value;
    const char *name;
    bool ok = s && root;

    if (s)
        openai_settings_init(s);
    json_object_foreach(root, name, value)
    {
        const struct member *m = find(name);
        if (ok && !m)
            buf_printf(err, "%.64s: there is no such member", name);
        ok = ok && m && read_member(s, m, value, err);
    }
    json_decref(root);
    if (ok)
        return s;
    openai_options_free(s);
    return NULL;
}

void openai_options_free(void *options)
{
    if (options)
        openai_settings_fini(options);
    free(options);
}

/* --- a message -------------------------------------------------------------------- */

static bool holds_own(const json_t *body)
{
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (json_object_get(body, own[i]))
            return true;
    return false;
}

static const char *read_one(struct openai_settings *over, int64_t allow, const char *name,
                            const json_t *value, struct buf *why)
{
    const struct member *m = find(name);

    if (!m || !m->allow) {
        buf_str(why, "The message sets an option that a message never may.");
        return "option_refused";
    }
    if (!(allow & m->allow)) {
        buf_printf(why, "This agent does not let a message set %s.", m->name);
        return "option_refused";
    }
    if (m->kind == OBJECT && holds_own(value)) {
        buf_printf(why, "The message's %s holds what is the agent's to say.", m->name);
        return "option_refused";
    }
    if (read_member(over, m, value, why))
        return NULL;
    buf_char(why, '.');
    return "option_invalid";
}

static const char *read_all(struct openai_settings *over, int64_t allow,
                            const json_t *openai, struct buf *why)
{
    const char *name, *code = NULL;
    json_t *value;

    if (openai && !json_is_object(openai)) {
        buf_str(why, "The message's options must be an object.");
        return "option_invalid";
    }
    json_object_foreach((json_t *)openai, name, value)
    {
        if (!code)
            code = read_one(over, allow, name, value, why);
    }
    return code;
}

const char *openai_settings_message(struct openai_settings *s, const char *metadata,
                                    struct buf *why)
{
    json_t *root = json_read(metadata, strlen(metadata), 0, NULL);
    struct openai_settings over;
    const char *code;

    openai_settings_init(&over);
    code = root ? read_all(&over, s->allow, json_object_get(root, "openai"), why)
                : "out_of_memory"; /* it is JSON: Postgres says so */
    if (s->max_tokens >= 0 && over.max_tokens > s->max_tokens)
        over.max_tokens = s->max_tokens; /* the operator's is the most */
    if (!code && !openai_settings_over(s, &over))
        code = "out_of_memory";
    if (code && why->len == 0)
        buf_str(why, "The worker has no memory left.");
    openai_settings_fini(&over);
    json_decref(root);
    return code;
}
