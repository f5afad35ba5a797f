/* exec_options: one function a member, complaints without values. */
#include "worker/agents/exec_options.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void exec_options_free(void *arg)
{
    struct exec_options *o = arg;

    free(o->command);
    free(o);
}

static bool read_option(struct exec_options *o, const char *name, const json_t *value,
                        struct buf *err)
{
    if (strcmp(name, "command") != 0) {
        buf_printf(err, "%.64s: there is no such member", name);
        return false;
    }
    if (json_string_length(value) == 0) {
        buf_str(err, "command: must be a text that is not empty");
        return false;
    }
    o->command = strdup(json_string_value(value));
    return o->command != NULL;
}

void *exec_options_new(const char *json, size_t len, struct buf *err)
{
    struct exec_options *o = calloc(1, sizeof(*o));
    json_t *root = json_loadb(json, len, 0, NULL), *value;
    const char *name;
    bool ok = o && root;

    json_object_foreach(root, name, value) ok = ok && read_option(o, name, value, err);
    json_decref(root);
    if (ok && !o->command)
        buf_str(err, "command: is needed");
    if (ok && o->command)
        return o;
    if (o)
        exec_options_free(o);
    return NULL;
}
