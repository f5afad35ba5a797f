/* conf: what a daemon is told before it starts. argv and the environment are sorted by
 * option first, then each option takes the best that was given for it:
 *
 *     --name value, --name-file path  >  NAME, NAME_FILE  >  default
 *
 * Nothing is guessed: what is unknown or malformed stops the start, all of it at once.
 * A secret's value must never reach the output. */
#include "common/conf.h"

#include "common/conf_internal.h"
#include "common/conf_value.h"
#include "common/nearest.h"
#include "threadcast_version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was given for one option. All borrowed; NULL: nothing. */
struct given {
    const char *flag, *flag_file, *env, *env_file;
};

enum mode { MODE_RUN, MODE_HELP, MODE_MARKDOWN, MODE_VERSION, MODE_CHECK };

struct load {
    const struct conf_spec *spec;
    struct given *given; /* one for each option */
    struct buf err;      /* one line for each thing that is wrong */
    enum mode mode;
    const char *command;
};

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

static void begin_error(struct load *l)
{
    buf_printf(&l->err, "%s: ", l->spec->program);
}

/* --- argv ------------------------------------------------------------------------------ */

/* The name of a flag without dashes and value: "keepalive-ms". */
static bool is_flag(const char *name, size_t len, const char *option)
{
    return strlen(option) == len && memcmp(option, name, len) == 0;
}

static void unknown_flag(struct load *l, const char *name, size_t len)
{
    char typed[CONF_ENV_SIZE];
    struct nearest n = {.name = typed};

    snprintf(typed, sizeof(typed), "%.*s", (int)(len < 90 ? len : 90), name);
    for (size_t i = 0; i < l->spec->option_count; i++)
        nearest_offer(&n, l->spec->options[i].name);
    begin_error(l);
    buf_str(&l->err, "unknown option ");
    buf_json(&l->err, name - 2, len + 2);
    if (n.best)
        buf_printf(&l->err, ", did you mean --%s?", n.best);
    buf_char(&l->err, '\n');
}

static bool take_mode(struct load *l, const char *arg)
{
    static const struct {
        const char *flag;
        enum mode mode;
    } modes[] = {
        {"--help", MODE_HELP},       {"-h", MODE_HELP},
        {"--version", MODE_VERSION}, {"--help-markdown", MODE_MARKDOWN},
        {"--check-config", MODE_CHECK},
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(arg, modes[i].flag) != 0)
            continue;
        if (l->mode == MODE_RUN || l->mode == MODE_CHECK)
            l->mode = modes[i].mode;
        return true;
    }
    return false;
}

/* Where the value of the flag `name` goes, or NULL. */
static const char **slot_of(struct load *l, const char *name, size_t len, bool *ret_bool)
{
    char file[CONF_ENV_SIZE];

    *ret_bool = false;
    for (size_t i = 0; i < l->spec->option_count; i++) {
        const struct conf_option *o = &l->spec->options[i];
        if (is_flag(name, len, o->name)) {
            *ret_bool = o->kind == CONF_BOOL;
            return &l->given[i].flag;
        }
        snprintf(file, sizeof(file), "%s-file", o->name);
        if (conf_has_file(l->spec, o) && is_flag(name, len, file))
            return &l->given[i].flag_file;
    }
    return NULL;
}

/* `--no-name` of a bool. */
static bool take_no(struct load *l, const char *name, size_t len)
{
    const char **slot;
    bool is_bool;

    if (len <= 3 || memcmp(name, "no-", 3) != 0)
        return false;
    slot = slot_of(l, name + 3, len - 3, &is_bool);
    if (!slot || !is_bool)
        return false;
    *slot = "false";
    return true;
}

/* One flag; the result is how many words it took. */
static int take_flag(struct load *l, const char *arg, const char *next)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    bool is_bool;
    const char **slot = slot_of(l, name, len, &is_bool);

    if (!slot) {
        if (equals || !take_no(l, name, len))
            unknown_flag(l, name, len);
        return 1;
    }
    if (equals || is_bool) {
        *slot = equals ? equals + 1 : "true";
        return 1;
    }
    if (!next || strncmp(next, "--", 2) == 0) {
        begin_error(l);
        buf_printf(&l->err, "--%.*s needs a value", (int)len, name);
        if (next)
            buf_printf(&l->err, " (one that begins with -- is written --%.*s=…)",
                       (int)len, name);
        buf_char(&l->err, '\n');
        return 1;
    }
    *slot = next;
    return 2;
}

static bool take_command(struct load *l, const char *arg)
{
    for (const char *const *c = l->spec->commands; c && *c; c++) {
        if (strcmp(arg, *c) == 0) {
            l->command = *c;
            return true;
        }
    }
    return false;
}

static void read_argv(struct load *l, int argc, char *const *argv)
{
    for (int i = 1; i < argc;) {
        if (take_mode(l, argv[i])) {
            i++;
        } else if (strncmp(argv[i], "--", 2) == 0 && argv[i][2]) {
            i += take_flag(l, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        } else {
            if (i != 1 || !take_command(l, argv[i])) {
                begin_error(l);
                buf_str(&l->err, "unexpected argument ");
                buf_json(&l->err, argv[i], strlen(argv[i]));
                buf_char(&l->err, '\n');
            }
            i++;
        }
    }
}

/* --- environment ----------------------------------------------------------------------- */

/* Prefixes are not compared, so BRIDGE_REDIS_URL finds REDIS_URL. */
static void unknown_env(struct load *l, const char *name)
{
    size_t prefix = strlen(l->spec->env_prefix);
    char best[CONF_ENV_SIZE], env[CONF_ENV_SIZE];
    struct nearest n = {.name = name + prefix};

    for (size_t i = 0; i < l->spec->option_count; i++) {
        size_t before = n.best ? n.distance : NEAREST_FAR;
        conf_env_name(l->spec, &l->spec->options[i], env);
        nearest_offer(&n, env + (l->spec->options[i].env ? 0 : prefix));
        if (n.best && n.distance < before)
            memcpy(best, env, sizeof(best));
    }
    begin_error(l);
    buf_str(&l->err, "unknown environment variable ");
    buf_json(&l->err, name, strlen(name));
    if (n.best)
        buf_printf(&l->err, ", did you mean %s?", best);
    buf_char(&l->err, '\n');
}

/* An empty value counts as not given, but its name must be right all the same. */
static void take_env(struct load *l, const char *name, const char *value)
{
    char env[CONF_ENV_SIZE];
    size_t len;

    for (size_t i = 0; i < l->spec->option_count; i++) {
        const struct conf_option *o = &l->spec->options[i];
        conf_env_name(l->spec, o, env);
        len = strlen(env);
        if (strncmp(name, env, len) != 0)
            continue;
        if (!name[len]) {
            l->given[i].env = *value ? value : NULL;
            return;
        }
        if (strcmp(name + len, "_FILE") == 0 && conf_has_file(l->spec, o)) {
            l->given[i].env_file = *value ? value : NULL;
            return;
        }
    }
    if (strncmp(name, l->spec->env_prefix, strlen(l->spec->env_prefix)) == 0)
        unknown_env(l, name);
}

static void read_env(struct load *l, char *const *envp)
{
    char name[CONF_ENV_SIZE];

    for (; envp && *envp; envp++) {
        const char *equals = strchr(*envp, '=');
        size_t len = equals ? (size_t)(equals - *envp) : 0;
        if (!len)
            continue;
        if (len >= sizeof(name))
            len = sizeof(name) - 1; /* longer than any of ours, so still unknown */
        memcpy(name, *envp, len);
        name[len] = '\0';
        take_env(l, name, equals + 1);
    }
}

/* --- values ---------------------------------------------------------------------------- */

struct choice {
    const char *text, *source; /* what the person wrote it as: --name, NAME */
    bool is_file;
};

static void name_error(struct load *l, const struct conf_option *o,
                       const struct choice *c, const char *reason)
{
    begin_error(l);
    buf_str(&l->err, c->source);
    if (c->is_file || o->kind != CONF_SECRET) {
        buf_char(&l->err, ' ');
        buf_json(&l->err, c->text, strlen(c->text));
    }
    buf_printf(&l->err, ": %s\n", reason);
}

static void apply(struct load *l, const struct conf_option *o, const struct choice *c,
                  void *out)
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

static void apply_best(struct load *l, size_t i, void *out)
{
    const struct conf_option *o = &l->spec->options[i];
    const struct given *g = &l->given[i];
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

static void check_all(struct load *l, void *out, bool (*validate)(void *, struct buf *))
{
    struct buf reason;

    if (!validate || l->err.len)
        return;
    buf_init(&reason);
    if (!validate(out, &reason)) {
        begin_error(l);
        buf_printf(&l->err, "%s\n", reason.len ? reason.data : "options do not fit");
    }
    buf_fini(&reason);
}

/* --- the whole ------------------------------------------------------------------------- */

static enum conf_result print_mode(struct load *l)
{
    struct buf text;

    buf_init(&text);
    switch (l->mode) {
    case MODE_RUN:
        break;
    case MODE_HELP:
        conf_help(l->spec, &text);
        break;
    case MODE_MARKDOWN:
        conf_markdown(l->spec, &text);
        break;
    case MODE_VERSION:
        buf_printf(&text, "%s %s\n", l->spec->program, THREADCAST_VERSION);
        break;
    case MODE_CHECK:
        buf_printf(&text, "%s: the configuration is good\n", l->spec->program);
        break;
    }
    if (text.len)
        fwrite(text.data, 1, text.len, stdout);
    fflush(stdout);
    buf_fini(&text);
    return l->mode == MODE_RUN ? CONF_RUN : CONF_EXIT;
}

enum conf_result conf_load(const struct conf_spec *spec, void *out, int argc,
                           char *const *argv, char *const *envp,
                           const char **ret_command,
                           bool (*validate)(void *out, struct buf *err))
{
    struct load l = {.spec = spec};
    enum conf_result result = CONF_BAD;

    l.given = calloc(spec->option_count + 1, sizeof(*l.given));
    if (!l.given)
        abort();
    read_argv(&l, argc, argv);
    if (l.mode == MODE_RUN || l.mode == MODE_CHECK) {
        read_env(&l, envp);
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
    if (ret_command)
        *ret_command = l.command;
    buf_fini(&l.err);
    free(l.given);
    return result;
}

void conf_free(const struct conf_spec *spec, void *out)
{
    for (size_t i = 0; i < spec->option_count; i++)
        conf_value_free(&spec->options[i], out);
}
