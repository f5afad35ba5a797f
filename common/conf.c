/* conf: what a daemon is told before it starts. Each option takes the best that was given
 * for it:
 *
 *     --name value, --name-file path  >  NAME, NAME_FILE  >  default
 *
 * Nothing is guessed: what is unknown or malformed stops the start, all of it at once.
 * A secret's value must never reach the output. */
#include "common/conf.h"

#include "common/conf_internal.h"
#include "common/conf_value.h"
#include "common/versions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void conf_env_name(const struct conf_spec *spec, const struct conf_option *o,
                   char out[CONF_ENV_SIZE])
{
    int n = o->env ? snprintf(out, CONF_ENV_SIZE, "%s", o->env)
                   : snprintf(out, CONF_ENV_SIZE, "%s%s", spec->env_prefix, o->name);

    if (n < 0 || n >= CONF_ENV_SIZE)
        abort();
    for (char *c = out; *c && !o->env; c++) {
        if (*c == '-')
            *c = '_';
        else if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    }
}

/* Is `name` the option's name with "-file" behind it? */
static bool is_file_name(const struct conf_option *o, const char *name)
{
    size_t len = strlen(o->name);

    return strncmp(name, o->name, len) == 0 && strcmp(name + len, "-file") == 0;
}

bool conf_has_file(const struct conf_spec *spec, const struct conf_option *o)
{
    if (o->kind != CONF_SECRET)
        return false;
    for (size_t i = 0; i < spec->option_count; i++) {
        if (is_file_name(o, spec->options[i].name))
            return false;
    }
    return true;
}

void conf_begin_error(struct conf_load *l)
{
    buf_printf(&l->err, "%s: ", l->spec->program);
}

/* --- values ------------------------------------------------------------------ */

struct choice {
    const char *text, *source; /* what the person wrote it as: --name, NAME */
    bool is_file;
};

static void name_error(struct conf_load *l, const struct conf_option *o,
                       const struct choice *c, const char *reason)
{
    conf_begin_error(l);
    buf_str(&l->err, c->source);
    if (c->is_file || o->kind != CONF_SECRET) {
        buf_char(&l->err, ' ');
        buf_json(&l->err, c->text, strlen(c->text));
    }
    buf_printf(&l->err, ": %s\n", reason);
}

static void apply(struct conf_load *l, const struct conf_option *o,
                  const struct choice *c, void *out)
{
    struct buf reason;
    bool ok;

    buf_init(&reason);
    ok = c->is_file ? conf_value_read(o, out, c->text, &reason)
                    : conf_value_set(o, out, c->text, &reason);
    if (!ok)
        name_error(l, o, c, reason.data && !reason.failed ? reason.data : "is not good");
    buf_fini(&reason);
}

static void apply_best(struct conf_load *l, size_t i, void *out)
{
    const struct conf_option *o = &l->spec->options[i];
    const struct conf_given *g = &l->given[i];
    char env[CONF_ENV_SIZE], env_file[CONF_ENV_SIZE + 8], flag[CONF_ENV_SIZE + 8];
    struct choice c = {.text = o->def, .source = flag};

    conf_env_name(l->spec, o, env);
    snprintf(env_file, sizeof(env_file), "%s_FILE", env);
    snprintf(flag, sizeof(flag), "--%s%s", o->name,
             g->flag_file && !g->flag ? "-file" : "");
    if (g->flag || g->flag_file) {
        c.text = g->flag ? g->flag : g->flag_file;
        c.is_file = !g->flag;
        if (g->flag && g->flag_file)
            name_error(l, o, &(struct choice){g->flag_file, flag, true},
                       "given both itself and as a file");
    } else if (g->env || g->env_file) {
        c = (struct choice){g->env ? g->env : g->env_file, g->env ? env : env_file,
                            !g->env};
        if (g->env && g->env_file)
            name_error(l, o, &(struct choice){g->env_file, env_file, true},
                       "given both itself and as a file");
    }
    if (c.text)
        apply(l, o, &c, out);
}

static void check_all(struct conf_load *l, void *out,
                      bool (*validate)(void *, struct buf *))
{
    struct buf reason;

    if (!validate || l->err.len || l->err.failed)
        return; /* some values may not be there */
    buf_init(&reason);
    if (!validate(out, &reason)) {
        conf_begin_error(l);
        buf_printf(&l->err, "%s\n", reason.len ? reason.data : "options do not fit");
    }
    buf_fini(&reason);
}

/* --- the whole --------------------------------------------------------------- */

static enum conf_result print_mode(struct conf_load *l)
{
    struct buf text;

    buf_init(&text);
    switch (l->mode) {
    case CONF_MODE_RUN:
        break;
    case CONF_MODE_HELP:
        conf_help(l->spec, &text);
        break;
    case CONF_MODE_MARKDOWN:
        conf_markdown(l->spec, &text);
        break;
    case CONF_MODE_VERSION:
        versions_line(l->spec->program, &text);
        break;
    case CONF_MODE_CHECK:
        buf_printf(&text, "%s: the configuration is good\n", l->spec->program);
        break;
    }
    if (text.len)
        fwrite(text.data, 1, text.len, stdout);
    fflush(stdout);
    buf_fini(&text);
    return l->mode == CONF_MODE_RUN ? CONF_RUN : CONF_EXIT;
}

enum conf_result conf_load(const struct conf_spec *spec, void *out, int argc,
                           char *const *argv, char *const *envp, const char **ret_command,
                           bool (*validate)(void *out, struct buf *err))
{
    struct conf_load l = {.spec = spec};
    enum conf_result result = CONF_BAD;

    l.given = calloc(spec->option_count + 1, sizeof(*l.given));
    if (!l.given)
        abort();
    conf_read_argv(&l, argc, argv);
    if (ret_command)
        *ret_command = l.command;
    if (l.mode == CONF_MODE_RUN || l.mode == CONF_MODE_CHECK) {
        conf_read_env(&l, envp);
        for (size_t i = 0; i < spec->option_count; i++)
            apply_best(&l, i, out);
        check_all(&l, out, validate);
    } else {
        buf_clear(&l.err); /* who asks for help gets it, whatever else was typed */
    }
    if (!l.err.len && !l.err.failed)
        result = print_mode(&l);
    else if (!l.err.failed)
        fwrite(l.err.data, 1, l.err.len, stderr);
    else
        fprintf(stderr, "%s: out of memory\n", spec->program);
    buf_fini(&l.err);
    free(l.given);
    return result;
}

void conf_free(const struct conf_spec *spec, void *out)
{
    for (size_t i = 0; i < spec->option_count; i++)
        conf_value_free(&spec->options[i], out);
}
