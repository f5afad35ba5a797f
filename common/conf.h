/* conf: every option is a row of one table per daemon: flag, environment, file, default,
 * limits, help. `--help`, `--check-config` and the table in the README are made from it.
 */
#ifndef THREADCAST_CONF_H
#define THREADCAST_CONF_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_kind {
    CONF_BOOL,   /* bool; the flag alone means true; else true|false|1|0|on|off */
    CONF_INT,    /* int64_t between min and max */
    CONF_STR,    /* char *, owned by the struct; NULL when neither given nor defaulted */
    CONF_CHOICE, /* int, index into choices "a|b|c" */
    CONF_SECRET, /* char *: never printed; <ENV>_FILE / --<name>-file read it from a file
                    (trailing newline removed), unless a row "<name>-file" of its own says
                    that the daemon does that */
};

struct conf_option {
    const char *name; /* "keepalive-ms" → --keepalive-ms */
    const char *env;  /* NULL: made from the spec's prefix, BRIDGE_KEEPALIVE_MS;
                         otherwise exactly this, e.g. "REDIS_URL" */
    enum conf_kind kind;
    size_t offset; /* of the field in the daemon's struct */
    int64_t min, max;
    const char *def;     /* as text; NULL: none */
    const char *choices; /* CONF_CHOICE */
    const char *unit;    /* "ms", "bytes", … for --help; may be NULL */
    const char *help;    /* one sentence */
    bool (*check)(const char *value, struct buf *err); /* may be NULL */
};

struct conf_spec {
    const char *program;    /* "threadcast-bridge" */
    const char *about;      /* one line for --help */
    const char *env_prefix; /* "BRIDGE_" */
    const struct conf_option *options;
    size_t option_count;
    const char *const *commands; /* words allowed as first argument (NULL-terminated), or
                                    NULL: e.g. "migrate" */
};

enum conf_result {
    CONF_RUN,  /* start the daemon */
    CONF_EXIT, /* --help, --version, --check-config: printed, exit 0 */
    CONF_BAD,  /* the reason is on stderr, exit 2 */
};

/* Fills `out` (zeroed by the caller; conf_free whatever the result). `--name value`,
 * `--name=value`, `--no-name` for a bool. A flag beats the environment, where an empty
 * value counts as not given. Unknown flags and
 * unknown variables with the daemon's prefix, malformed or out-of-range values:
 * CONF_BAD and a line that names option, value and reason (secrets: without the value).
 * `ret_command`: the command word or NULL, before `validate` is called; that (may be
 * NULL) checks across options before --check-config says that all is well. */
enum conf_result conf_load(const struct conf_spec *spec, void *out, int argc,
                           char *const *argv, char *const *envp, const char **ret_command,
                           bool (*validate)(void *out, struct buf *err));
void conf_free(const struct conf_spec *spec, void *out);
void conf_help(const struct conf_spec *spec, struct buf *out);     /* --help */
void conf_markdown(const struct conf_spec *spec, struct buf *out); /* --help-markdown */

#endif
