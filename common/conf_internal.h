/* conf_internal: what conf and conf_help share. */
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

#endif
