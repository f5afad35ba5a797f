/* openai_failure: providers say what is wrong in many shapes; one sentence is made of
 * each. It must never show the key, nor what a provider says of the key. */
#include "worker/agents/openai_failure.h"

#include "common/utf8.h"
#include "worker/agents/openai_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 300 /* bytes of a provider's own words */ };

/* What a provider said of an error, in its own words; borrows the JSON. */
struct said {
    const char *text; /* NULL: nothing */
    size_t len;
    long status; /* a number that looks like one of HTTP; 0: none */
    bool is_quota, is_request;
};

void openai_failure_init(struct openai_failure *f)
{
    *f = (struct openai_failure){.code = NULL};
    buf_init(&f->message);
}

void openai_failure_fini(struct openai_failure *f)
{
    buf_fini(&f->message);
}

void openai_fail(struct openai_failure *f, const char *code, bool retryable,
                 const char *message)
{
    if (f->code)
        return;
    f->code = code;
    f->retryable = retryable;
    buf_str(&f->message, message);
}

/* --- what it said ----------------------------------------------------------------- */

static bool is_word(const json_t *value, const char *word)
{
    const char *text = json_string_value(value);

    return text && strcmp(text, word) == 0;
}

static void take_text(struct said *s, const json_t *value)
{
    if (!s->text && json_string_length(value) > 0) {
        s->text = json_string_value(value);
        s->len = json_string_length(value);
    }
}

static void take_status(struct said *s, const json_t *value)
{
    long n = json_is_integer(value)  ? (long)json_integer_value(value)
             : json_is_string(value) ? strtol(json_string_value(value), NULL, 10)
                                     : 0;

    if (!s->status && n >= 400 && n <= 599)
        s->status = n;
}

/* {message, type, code, status} or a string */
static void take_error(struct said *s, const json_t *error)
{
    const json_t *type = json_object_get(error, "type");
    const json_t *code = json_object_get(error, "code");

    take_text(s, error);
    take_text(s, json_object_get(error, "message"));
    take_text(s, json_object_get(error, "detail"));
    take_status(s, code);
    take_status(s, json_object_get(error, "status"));
    s->is_quota |=
        is_word(code, "insufficient_quota") || is_word(type, "insufficient_quota");
    s->is_request |=
        is_word(type, "invalid_request_error") || is_word(type, "BadRequestError");
}

/* {error: …}, [{error: …}], or the members at the top */
static void take_envelope(struct said *s, const json_t *root)
{
    const json_t *one = json_is_array(root) ? json_array_get(root, 0) : root;
    const json_t *error = json_object_get(one, "error");

    if (error && !json_is_null(error))
        take_error(s, error);
    take_error(s, one);
}

/* --- in a sentence ---------------------------------------------------------------- */

static void add_said(struct buf *out, const struct said *s)
{
    struct buf clean;
    size_t len;

    if (!s->text)
        return;
    buf_init(&clean);
    utf8_repair(&clean, s->text, s->len);
    for (size_t i = 0; i < clean.len; i++)
        if ((unsigned char)clean.data[i] < ' ' || clean.data[i] == 0x7f)
            clean.data[i] = ' ';
    len = clean.len > TEXT_MAX ? utf8_whole(clean.data, TEXT_MAX) : clean.len;
    buf_str(out, ": ");
    if (len > 0)
        buf_add(out, clean.data, len);
    out->failed |= clean.failed;
    buf_fini(&clean);
}

static void say(struct openai_failure *f, const char *code, bool retryable,
                const char *message, const struct said *s)
{
    if (f->code)
        return;
    openai_fail(f, code, retryable, message);
    add_said(&f->message, s);
    if (!s->text)
        buf_char(&f->message, '.');
}

static bool may_help(long status)
{
    return status == 408 || status == 409 || status == 429 || status >= 500;
}

static void fail_as(struct openai_failure *f, long status, const struct said *s)
{
    char text[80];

    snprintf(text, sizeof(text), "The model provider answered %ld", status);
    if (status == 401 || status == 403)
        openai_fail(f, "provider_auth", false, "The model provider refused the key.");
    else if (s->is_quota)
        openai_fail(f, "provider_quota", false, "The model provider's quota is used up.");
    else if (status == 429)
        say(f, "provider_rate_limit", true, "The model provider has too much to do", s);
    else if (status >= 300 && status < 400)
        openai_fail(f, "provider_refused", false,
                    "The model provider answered with a redirect.");
    else
        say(f, may_help(status) ? "provider_unavailable" : "provider_refused",
            may_help(status), text, s);
}

void openai_fail_status(struct openai_failure *f, int status, const char *body,
                        size_t len)
{
    json_t *root = openai_json(body, len, NULL);
    struct said s = {0};

    take_envelope(&s, root);
    fail_as(f, status, &s);
    json_decref(root);
}

void openai_fail_value(struct openai_failure *f, const json_t *error)
{
    struct said s = {0};

    take_envelope(&s, error);
    if (s.status == 401 || s.status == 403 || s.status == 429 || s.is_quota)
        fail_as(f, s.status, &s);
    else
        say(f, "provider_error", s.status ? may_help(s.status) : !s.is_request,
            "The model provider reported an error", &s);
}

void openai_fail_text(struct openai_failure *f, const char *text, size_t len)
{
    json_t *root = openai_json(text, len, NULL);
    struct said s = {.text = len > 0 ? text : NULL, .len = len};

    if (json_is_object(root))
        openai_fail_value(f, root);
    else
        say(f, "provider_error", true, "The model provider reported an error", &s);
    json_decref(root);
}

void openai_failure_scrub(struct openai_failure *f, const char *secret)
{
    size_t len = secret ? strlen(secret) : 0;
    char *at = f->message.data;

    while (len > 0 && at && (at = strstr(at, secret))) {
        memset(at, '*', len);
        at += len;
    }
}
