/* conf_value: one option's value, from text into the daemon's struct. */
#ifndef THREADCAST_CONF_VALUE_H
#define THREADCAST_CONF_VALUE_H

#include "common/conf.h"

/* Sets the option's field in `out`. false: malformed or out of range; the reason, without
 * the value, was appended to `err`, and the field is as it was. */
bool conf_value_set(const struct conf_option *o, void *out, const char *text,
                    struct buf *err);
/* The same with what the file holds, without its last newline. */
bool conf_value_read(const struct conf_option *o, void *out, const char *path,
                     struct buf *err);
/* What stands in a file, without its last newline. Returns new; NULL: the reason was
 * appended. */
char *conf_value_text(const char *path, struct buf *err);
void conf_value_free(const struct conf_option *o, void *out);

#endif
