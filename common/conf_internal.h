/* conf_internal: what conf, conf_given and conf_help share. */
#ifndef THREADCAST_CONF_INTERNAL_H
#define THREADCAST_CONF_INTERNAL_H

#include "common/conf.h"

#define CONF_ENV_SIZE 96

/* The option's environment variable; a name that does not fit is a bug (abort). */
void conf_env_name(const struct conf_spec *spec, const struct conf_option *o,
                   char out[CONF_ENV_SIZE]);
/* A secret whose file is read here: it has no row "<name>-file" of its own, which a
 * daemon that wants to read, or make, the file itself would have. */
bool conf_has_file(const struct conf_spec *spec, const struct conf_option *o);

/* What was given for one option. All borrowed; NULL: nothing. */
struct conf_given {
    const char *flag, *flag_file, *env, *env_file;
};

enum conf_mode {
    CONF_MODE_RUN,
    CONF_MODE_HELP,
    CONF_MODE_MARKDOWN,
    CONF_MODE_VERSION,
    CONF_MODE_CHECK,
};

struct conf_load {
    const struct conf_spec *spec;
    struct conf_given *given; /* one for each option */
    struct buf err;           /* one line for each thing that is wrong */
    enum conf_mode mode;
    const char *command;
};

/* "program: ", the beginning of a line in `err`. */
void conf_begin_error(struct conf_load *l);
void conf_read_argv(struct conf_load *l, int argc, char *const *argv);
void conf_read_env(struct conf_load *l, char *const *envp);

#endif
