/* conf_help: the table of options as people read it, in a terminal and in the README. */
#include "common/conf_internal.h"

#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMNS = 90, HELP_INDENT = 28 };

/* Words of `text` from the column `indent` on, wrapped; all later lines begin there. */
static void add_wrapped(struct buf *out, size_t indent, const char *text)
{
    size_t at = indent;
    bool first = true;

    while (*text) {
        size_t len = strcspn(text, " ");
        if (!first && at + 1 + len > HELP_COLUMNS) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        if (!first) {
            buf_char(out, ' ');
            at++;
        }
        buf_add(out, text, len);
        at += len;
        text += len + strspn(text + len, " ");
        first = false;
    }
    buf_char(out, '\n');
}

/* One row: what is typed on the left, what it does on the right. */
static void add_row(struct buf *out, const char *left, const char *text)
{
    size_t len = strlen(left) + 2;

    buf_printf(out, "  %s", left);
    if (len + 1 > HELP_INDENT)
        buf_printf(out, "\n%*s", HELP_INDENT, "");
    else
        buf_printf(out, "%*s", (int)(HELP_INDENT - len), "");
    add_wrapped(out, HELP_INDENT, text);
}

static void add_flag(struct buf *out, const struct conf_option *o)
{
    switch (o->kind) {
    case CONF_BOOL:
        buf_printf(out, "--[no-]%s", o->name);
        break;
    case CONF_CHOICE:
        buf_printf(out, "--%s %s", o->name, o->choices);
        break;
    case CONF_INT:
        buf_printf(out, "--%s <%s>", o->name, o->unit ? o->unit : "n");
        break;
    case CONF_STR:
        buf_printf(out, "--%s <%s>", o->name, o->unit ? o->unit : "text");
        break;
    case CONF_SECRET:
        buf_printf(out, "--%s <secret>", o->name);
        break;
    }
}

static void add_limits(struct buf *out, const struct conf_option *o)
{
    if (o->kind != CONF_INT)
        return;
    if (o->max == INT64_MAX)
        buf_printf(out, " At least %lld.", (long long)o->min);
    else
        buf_printf(out, " %lld to %lld.", (long long)o->min, (long long)o->max);
}

static void add_option(const struct conf_spec *spec, const struct conf_option *o,
                       struct buf *out)
{
    struct buf left, text;
    char env[CONF_ENV_SIZE];

    buf_init(&left);
    buf_init(&text);
    conf_env_name(spec, o, env);
    add_flag(&left, o);
    buf_str(&text, o->help);
    if (o->def)
        buf_printf(&text, " Default: %s.", *o->def ? o->def : "empty");
    add_limits(&text, o);
    buf_printf(&text, " [%s]", env);
    if (conf_has_file(spec, o))
        buf_printf(&text, " [%s_FILE]", env);
    if (!left.failed && !text.failed)
        add_row(out, left.data, text.data);
    buf_fini(&left);
    buf_fini(&text);
}

static void add_usage(const struct conf_spec *spec, struct buf *out)
{
    buf_printf(out, "Usage: %s", spec->program);
    for (const char *const *c = spec->commands; c && *c; c++)
        buf_printf(out, "%s%s%s", c == spec->commands ? " [" : "|", *c, c[1] ? "" : "]");
    buf_str(out, " [options]\n\n");
    add_wrapped(out, 0, spec->about);
}

void conf_help(const struct conf_spec *spec, struct buf *out)
{
    bool files = false;

    add_usage(spec, out);
    buf_str(out, "\nOptions, with their environment variables. A flag beats the "
                 "environment; an empty\nvariable counts as not set.\n\n");
    for (size_t i = 0; i < spec->option_count; i++) {
        add_option(spec, &spec->options[i], out);
        files = files || conf_has_file(spec, &spec->options[i]);
    }
    if (files)
        buf_str(out, "\nA secret can come from a file: --<name>-file <path>, or the "
                     "variable with _FILE behind\nits name. Everybody on this machine "
                     "can see what stands on a command line.\n");
    buf_char(out, '\n');
    add_row(out, "--help", "Print this and exit.");
    add_row(out, "--help-markdown", "Print the options as a Markdown table and exit.");
    add_row(out, "--check-config", "Read and check all options, say so, and exit.");
    add_row(out, "--version", "Print the version and exit.");
}

/* A bar would end the cell, even inside code. */
static void add_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_char(out, '\\');
        buf_char(out, *text);
    }
}

static void add_markdown_row(const struct conf_spec *spec, const struct conf_option *o,
                             struct buf *out)
{
    char env[CONF_ENV_SIZE];
    struct buf flag;

    buf_init(&flag);
    conf_env_name(spec, o, env);
    add_flag(&flag, o);
    buf_str(out, "| `");
    add_cell(out, flag.failed ? "" : flag.data);
    buf_printf(out, "` | `%s`", env);
    if (conf_has_file(spec, o))
        buf_printf(out, ", `%s_FILE`", env);
    buf_str(out, " | ");
    if (o->def && *o->def) {
        buf_char(out, '`');
        add_cell(out, o->def);
        buf_char(out, '`');
    }
    buf_str(out, " | ");
    add_cell(out, o->help);
    add_limits(out, o);
    buf_str(out, " |\n");
    buf_fini(&flag);
}

void conf_markdown(const struct conf_spec *spec, struct buf *out)
{
    buf_str(out, "| option | environment | default | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < spec->option_count; i++)
        add_markdown_row(spec, &spec->options[i], out);
}
