/* DATABASE_URL becomes libpq's keywords, with what every connection of ours wants. libpq
 * reads the URL; its complaints quote pieces of it, maybe of the password, so what is
 * quoted is not passed on. */
#include "common/pg_internal.h"

#include <stdlib.h>
#include <string.h>

void pg_conninfo_fini(struct pg_conninfo *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->keywords[i]);
        free(c->values[i]);
    }
    free(c->keywords);
    free(c->values);
    *c = (struct pg_conninfo){0};
}

static size_t find(const struct pg_conninfo *c, const char *keyword)
{
    size_t i = 0;

    while (i < c->count && strcmp(c->keywords[i], keyword) != 0)
        i++;
    return i;
}

const char *pg_conninfo_get(const struct pg_conninfo *c, const char *keyword)
{
    size_t i = find(c, keyword);

    return i < c->count ? c->values[i] : NULL;
}

static bool grow(struct pg_conninfo *c)
{
    size_t cap = c->cap ? c->cap * 2 : 16;
    char **keywords = calloc(cap + 1, sizeof(*keywords));
    char **values = calloc(cap + 1, sizeof(*values));

    if (!keywords || !values) {
        free(keywords);
        free(values);
        return false;
    }
    if (c->count > 0) {
        memcpy(keywords, c->keywords, c->count * sizeof(*keywords));
        memcpy(values, c->values, c->count * sizeof(*values));
    }
    free(c->keywords);
    free(c->values);
    c->keywords = keywords;
    c->values = values;
    c->cap = cap;
    return true;
}

void pg_conninfo_set(struct pg_conninfo *c, const char *keyword, const char *value)
{
    size_t i = find(c, keyword);
    char *copy = strdup(value);

    if (!copy)
        goto fail;
    if (i < c->count) {
        free(c->values[i]);
        c->values[i] = copy;
        return;
    }
    if (c->count == c->cap && !grow(c))
        goto fail;
    c->keywords[i] = strdup(keyword);
    if (!c->keywords[i])
        goto fail;
    c->values[i] = copy;
    c->count++;
    return;
fail:
    free(copy);
    c->failed = true;
}

/* From the first quote to the last: what is quoted may itself hold one. */
static void redact(const char *text, struct buf *err)
{
    size_t len = strcspn(text, "\n");
    size_t first = strcspn(text, "\"\n"), last = len;

    while (last > first && text[last - 1] != '"')
        last--;
    buf_add(err, text, first);
    if (first < len) {
        buf_str(err, "\"…\"");
        buf_add(err, text + last, len - last);
    }
}

static bool read_url(struct pg_conninfo *c, const char *url, struct buf *err)
{
    char *message = NULL;
    PQconninfoOption *options;

    /* a lone word would be taken for a database's name or refused by quoting it all */
    if (strncmp(url, "postgres://", 11) != 0 && strncmp(url, "postgresql://", 13) != 0 &&
        !strchr(url, '=')) {
        buf_str(err, "must be postgres://… or keyword=value …");
        return false;
    }
    options = PQconninfoParse(url, &message);
    if (!options) {
        redact(message ? message : "no memory", err);
        PQfreemem(message);
        return false;
    }
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (o->val)
            pg_conninfo_set(c, o->keyword, o->val);
    PQconninfoFree(options);
    if (pg_conninfo_get(c, "service")) {
        buf_str(err, "a service file is not supported, name the host");
        return false;
    }
    return true;
}

bool pg_url_check(const char *url, struct buf *err)
{
    struct pg_conninfo c = {0};
    struct pg_hosts hosts = {0};
    bool ok = read_url(&c, url, err) && pg_hosts_start(&hosts, &c, err);

    pg_hosts_fini(&hosts);
    pg_conninfo_fini(&c);
    return ok;
}

/* What libpq would look up in the environment itself, too late for us: the host must be
 * numeric before it sees it. `options` because we append to it. */
static void add_environment(struct pg_conninfo *c)
{
    static const char *const wanted[] = {"host", "hostaddr", "port", "options",
                                         "gssencmode"};
    PQconninfoOption *options = PQconndefaults();

    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
            if (o->val && o->val[0] && strcmp(o->keyword, wanted[i]) == 0 &&
                !pg_conninfo_get(c, o->keyword))
                pg_conninfo_set(c, o->keyword, o->val);
    PQconninfoFree(options);
}

static void set_default(struct pg_conninfo *c, const char *keyword, const char *value)
{
    if (!pg_conninfo_get(c, keyword))
        pg_conninfo_set(c, keyword, value);
}

/* libpq's `options` are words: a space or a backslash inside one is escaped. */
static void add_word(struct buf *options, const char *text)
{
    for (; *text; text++) {
        if (*text == ' ' || *text == '\\')
            buf_char(options, '\\');
        buf_char(options, *text);
    }
}

/* As start-up options, not as statements: a SET that a pooler lets through would stay in
 * a connection that is somebody else's next. The backend of a statement whose client is
 * gone looks up every two seconds and stops. */
static void add_session(struct pg_conninfo *c, const char *schema)
{
    const char *given = pg_conninfo_get(c, "options");
    struct buf options, name;

    buf_init(&options);
    buf_init(&name);
    if (given)
        buf_printf(&options, "%s ", given);
    buf_str(&options, "-c client_connection_check_interval=2000");
    if (schema) {
        pg_quote(&name, schema);
        buf_str(&options, " -c search_path=");
        add_word(&options, name.failed ? "" : name.data);
    }
    if (options.failed || name.failed)
        c->failed = true;
    else
        pg_conninfo_set(c, "options", options.data);
    buf_fini(&name);
    buf_fini(&options);
}

bool pg_conninfo_make(struct pg_conninfo *c, const struct pg_options *o, struct buf *err)
{
    bool env_gss = getenv("PGGSSENCMODE") != NULL;

    if (!read_url(c, o->url, err))
        return false;
    if (!env_gss)
        set_default(c, "gssencmode", "disable"); /* may ask a ticket server, blocking */
    add_environment(c);
    /* as in redis_dial.c */
    set_default(c, "keepalives_idle", "3");
    set_default(c, "keepalives_interval", "2");
    set_default(c, "keepalives_count", "3");
    set_default(c, "tcp_user_timeout", "8000");
    pg_conninfo_set(c, "client_encoding", "UTF8");
    if (o->name)
        pg_conninfo_set(c, "application_name", o->name);
    if (!o->pooled)
        add_session(c, o->schema);
    if (c->failed)
        buf_str(err, "no memory");
    return !c->failed;
}
