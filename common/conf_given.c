/* conf_given: sorts argv and the environment by option. Values are looked at later; here
 * only names are known or unknown. */
#include "common/conf_internal.h"
#include "common/nearest.h"

#include <stdio.h>
#include <string.h>

/* --- argv -------------------------------------------------------------------- */

/* The name of a flag without dashes and value: "keepalive-ms". */
static bool is_flag(const char *name, size_t len, const char *option)
{
    return strlen(option) == len && memcmp(option, name, len) == 0;
}

static void unknown_flag(struct conf_load *l, const char *name, size_t len)
{
    char typed[CONF_ENV_SIZE];
    struct nearest n = {.name = typed};

    snprintf(typed, sizeof(typed), "%.*s", (int)(len < 90 ? len : 90), name);
    for (size_t i = 0; i < l->spec->option_count; i++)
        nearest_offer(&n, l->spec->options[i].name);
    conf_begin_error(l);
    buf_str(&l->err, "unknown option ");
    buf_json(&l->err, name - 2, len + 2);
    if (n.best)
        buf_printf(&l->err, ", did you mean --%s?", n.best);
    buf_char(&l->err, '\n');
}

static bool take_mode(struct conf_load *l, const char *arg)
{
    static const struct {
        const char *flag;
        enum conf_mode mode;
    } modes[] = {
        {"--help", CONF_MODE_HELP},          {"-h", CONF_MODE_HELP},
        {"--version", CONF_MODE_VERSION},    {"--help-markdown", CONF_MODE_MARKDOWN},
        {"--check-config", CONF_MODE_CHECK},
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(arg, modes[i].flag) != 0)
            continue;
        if (l->mode == CONF_MODE_RUN || l->mode == CONF_MODE_CHECK)
            l->mode = modes[i].mode;
        return true;
    }
    return false;
}

/* Where the value of the flag `name` goes, or NULL. */
static const char **slot_of(struct conf_load *l, const char *name, size_t len,
                            bool *ret_bool)
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
static bool take_no(struct conf_load *l, const char *name, size_t len)
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
static int take_flag(struct conf_load *l, const char *arg, const char *next)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    bool is_bool;
    const char **slot = slot_of(l, name, len, &is_bool);

    if (!slot) {
        if (!equals && take_no(l, name, len))
            return 1;
        unknown_flag(l, name, len);
        return equals || !next || *next == '-' ? 1 : 2; /* what was meant as its value */
    }
    if (equals || is_bool) {
        *slot = equals ? equals + 1 : "true";
        return 1;
    }
    if (!next || strncmp(next, "--", 2) == 0) {
        conf_begin_error(l);
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

static bool take_command(struct conf_load *l, const char *arg)
{
    for (const char *const *c = l->spec->commands; c && *c; c++) {
        if (strcmp(arg, *c) == 0) {
            l->command = *c;
            return true;
        }
    }
    return false;
}

void conf_read_argv(struct conf_load *l, int argc, char *const *argv)
{
    for (int i = 1; i < argc;) {
        if (take_mode(l, argv[i])) {
            i++;
        } else if (strncmp(argv[i], "--", 2) == 0 && argv[i][2]) {
            i += take_flag(l, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        } else {
            if (i != 1 || !take_command(l, argv[i])) {
                conf_begin_error(l);
                buf_str(&l->err, "unexpected argument ");
                buf_json(&l->err, argv[i], strlen(argv[i]));
                buf_char(&l->err, '\n');
            }
            i++;
        }
    }
}

/* --- environment ------------------------------------------------------------- */

/* Prefixes are not compared, so BRIDGE_REDIS_URL finds REDIS_URL. */
static void unknown_env(struct conf_load *l, const char *name)
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
    conf_begin_error(l);
    buf_str(&l->err, "unknown environment variable ");
    buf_json(&l->err, name, strlen(name));
    if (n.best)
        buf_printf(&l->err, ", did you mean %s?", best);
    buf_char(&l->err, '\n');
}

/* An empty value counts as not given, but its name must be right all the same. */
static void take_env(struct conf_load *l, const char *name, const char *value)
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

void conf_read_env(struct conf_load *l, char *const *envp)
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
