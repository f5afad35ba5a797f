/* conf_value: the only place that writes into the daemons' option structs. Reasons never
 * contain the value: the caller knows whether it may be shown. */
#include "common/conf_value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_MAX = 64 * 1024 };

static char **text_field(const struct conf_option *o, void *out)
{
    return (char **)(void *)((char *)out + o->offset);
}

static bool set_bool(const struct conf_option *o, void *out, const char *text,
                     struct buf *err)
{
    static const char *const words[] = {"false", "true", "0", "1", "off", "on"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            *(bool *)(void *)((char *)out + o->offset) = i % 2 == 1;
            return true;
        }
    }
    buf_str(err, "must be true or false");
    return false;
}

static bool parse_int(const char *text, int64_t *ret_n)
{
    const char *digits = text + (*text == '-');
    char *end;
    long long n;

    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno || *end)
        return false;
    *ret_n = n;
    return true;
}

static bool set_int(const struct conf_option *o, void *out, const char *text,
                    struct buf *err)
{
    const char *space = o->unit ? " " : "", *unit = o->unit ? o->unit : "";
    int64_t n;

    if (!parse_int(text, &n)) {
        buf_str(err, "must be a whole number");
        return false;
    }
    if (n < o->min || n > o->max) {
        if (o->max == INT64_MAX)
            buf_printf(err, "must be at least %lld%s%s", (long long)o->min, space, unit);
        else
            buf_printf(err, "must be from %lld to %lld%s%s", (long long)o->min,
                       (long long)o->max, space, unit);
        return false;
    }
    *(int64_t *)(void *)((char *)out + o->offset) = n;
    return true;
}

static bool set_choice(const struct conf_option *o, void *out, const char *text,
                       struct buf *err)
{
    const char *at = o->choices;

    for (int i = 0; *at; i++) {
        size_t len = strcspn(at, "|");
        if (strlen(text) == len && memcmp(at, text, len) == 0) {
            *(int *)(void *)((char *)out + o->offset) = i;
            return true;
        }
        at += len + (at[len] == '|');
    }
    buf_printf(err, "must be one of %s", o->choices);
    return false;
}

static bool set_text(const struct conf_option *o, void *out, const char *text,
                     struct buf *err)
{
    char *copy = strdup(text);

    if (!copy) {
        buf_str(err, "no memory");
        return false;
    }
    conf_value_free(o, out);
    *text_field(o, out) = copy;
    return true;
}

bool conf_value_set(const struct conf_option *o, void *out, const char *text,
                    struct buf *err)
{
    size_t before = err->len;

    if (o->check && !o->check(text, err)) {
        if (err->len == before)
            buf_str(err, "is not allowed");
        return false;
    }
    switch (o->kind) {
    case CONF_BOOL:
        return set_bool(o, out, text, err);
    case CONF_INT:
        return set_int(o, out, text, err);
    case CONF_CHOICE:
        return set_choice(o, out, text, err);
    case CONF_STR:
    case CONF_SECRET:
        return set_text(o, out, text, err);
    }
    return false;
}

static void wipe(char *text, size_t len)
{
    explicit_bzero(text, len);
    free(text);
}

char *conf_value_text(const char *path, struct buf *err)
{
    FILE *f = fopen(path, "re");
    char *text = malloc(SECRET_MAX + 1);
    size_t len;

    if (!f || !text) {
        buf_str(err, f ? "no memory" : strerror(errno));
        goto fail;
    }
    len = fread(text, 1, SECRET_MAX + 1, f);
    if (ferror(f)) {
        buf_str(err, "cannot be read");
        goto fail;
    }
    if (len > SECRET_MAX) {
        buf_str(err, "is larger than 64 KiB");
        goto fail;
    }
    if (len && text[len - 1] == '\n')
        len--;
    if (len && text[len - 1] == '\r')
        len--;
    text[len] = '\0';
    if (!len || memchr(text, '\0', len)) {
        buf_str(err, len ? "contains a NUL" : "is empty");
        goto fail;
    }
    fclose(f);
    return text;
fail:
    if (f)
        fclose(f);
    if (text)
        wipe(text, SECRET_MAX + 1);
    return NULL;
}

bool conf_value_read(const struct conf_option *o, void *out, const char *path,
                     struct buf *err)
{
    char *text = conf_value_text(path, err);
    bool ok;

    if (!text)
        return false;
    ok = conf_value_set(o, out, text, err);
    wipe(text, strlen(text));
    return ok;
}

void conf_value_free(const struct conf_option *o, void *out)
{
    char **field;

    if (o->kind != CONF_STR && o->kind != CONF_SECRET)
        return;
    field = text_field(o, out);
    if (*field)
        wipe(*field, strlen(*field));
    *field = NULL;
}
