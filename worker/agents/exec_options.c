/* exec_options: one table for the numbers. It must never let a secret of the worker be
 * passed on by a slip: names that hold ours are refused here, when agents.json is read.
 */
#include "worker/agents/exec_options.h"
#include "common/json.h"

#include "worker/agents/exec_host.h"

#include <stdlib.h>
#include <string.h>

struct number {
    const char *name;
    size_t offset;
    int64_t min, max, standard;
    bool persistent; /* has a meaning in that mode only */
};

#define AT(field) offsetof(struct exec_options, field)

static const struct number numbers[] = {
    {"time_limit_s", AT(time_limit_s), 0, 604800, 0, false},
    {"cpu_limit_s", AT(cpu_limit_s), 0, 604800, 0, false},
    {"memory_limit_mb", AT(memory_limit_mb), 0, 16777216, 0, false},
    {"output_limit_bytes", AT(output_limit_bytes), 0, 1LL << 40, 256LL << 20, false},
    {"files_limit", AT(files_limit), 0, 1048576, 0, false},
    {"processes", AT(processes), 1, 1024, 1, true},
    {"runs_at_once", AT(runs_at_once), 1, 10000, 16, true},
    {"start_limit_s", AT(start_limit_s), 1, 3600, 30, true},
    {"idle_s", AT(idle_s), 0, 604800, 300, true},
    {"runs_per_process", AT(runs_per_process), 0, 1000000000, 0, true},
};
enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]), FILES_MIN = 8 };

/* What the worker itself lives on. A value of the agent's own may be set under any name.
 */
static const char *const ours[] = {"DATABASE_", "REDIS_",  "JWT_",
                                   "OPENAI_",   "WORKER_", "PG"};

static bool refuse(struct buf *err, const char *member, const char *why)
{
    buf_printf(err, "%.64s: %s", member, why);
    return false;
}

static const struct number *find_number(const char *name)
{
    for (size_t i = 0; i < NUMBERS; i++)
        if (strcmp(numbers[i].name, name) == 0)
            return &numbers[i];
    return NULL;
}

static int64_t *place(struct exec_options *o, const struct number *n)
{
    return (int64_t *)(void *)((char *)o + n->offset);
}

static bool read_number(struct exec_options *o, const struct number *n,
                        const json_t *value, struct buf *err)
{
    json_int_t given = json_integer_value(value);

    if (!json_is_integer(value) || given < n->min || given > n->max) {
        buf_printf(err, "%s: must be a whole number from %lld to %lld", n->name,
                   (long long)n->min, (long long)n->max);
        return false;
    }
    *place(o, n) = given;
    return true;
}

static bool read_text(char **out, const char *member, const json_t *value,
                      struct buf *err)
{
    if (json_string_length(value) == 0)
        return refuse(err, member, "must be a text that is not empty");
    *out = strdup(json_string_value(value));
    return *out || refuse(err, member, "out of memory");
}

static bool read_mode(struct exec_options *o, const json_t *value, struct buf *err)
{
    const char *mode = json_is_string(value) ? json_string_value(value) : "";

    o->persistent = strcmp(mode, "persistent") == 0;
    return o->persistent || strcmp(mode, "message") == 0 ||
           refuse(err, "mode", "must be `message` or `persistent`");
}

static bool is_variable(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
                              "0123456789");

    return len > 0 && !name[len] && len <= 128 && !strchr("0123456789", name[0]);
}

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strncmp(name, ours[i], strlen(ours[i])) == 0)
            return true;
    return strstr(name, "PASSWORD") != NULL;
}

static bool read_variable(struct exec_options *o, size_t at, const char *name,
                          const json_t *value, struct buf *err)
{
    int made = -1;

    if (!is_variable(name) || strncmp(name, "THREADCAST_", 11) == 0)
        buf_printf(err, "env.%.64s: no name of a variable that can be set", name);
    else if (json_is_string(value))
        made = asprintf(&o->env[at], "%s=%s", name, json_string_value(value));
    else if (!json_is_true(value))
        buf_printf(err, "env.%.64s: must be a text, or true to pass on the worker's",
                   name);
    else if (is_ours(name))
        buf_printf(err, "env.%.64s: the worker's own is never passed on", name);
    else
        made = asprintf(&o->env[at], "%s", name);
    if (made < 0)
        o->env[at] = NULL;
    return made >= 0;
}

static bool read_env(struct exec_options *o, json_t *value, struct buf *err)
{
    const char *name;
    json_t *member;
    size_t at = 0;

    if (!json_is_object(value) || json_object_size(value) > EXEC_ENV_MAX) {
        buf_printf(err, "env: must be an object of at most %d variables", EXEC_ENV_MAX);
        return false;
    }
    json_object_foreach(value, name, member)
    {
        if (!read_variable(o, at++, name, member, err))
            return false;
    }
    return true;
}

static bool read_member(struct exec_options *o, const char *name, json_t *value,
                        struct buf *err)
{
    const struct number *n = find_number(name);

    if (n)
        return read_number(o, n, value, err);
    if (strcmp(name, "command") == 0)
        return read_text(&o->command, name, value, err);
    if (strcmp(name, "directory") == 0)
        return read_text(&o->directory, name, value, err);
    if (strcmp(name, "mode") == 0)
        return read_mode(o, value, err);
    if (strcmp(name, "env") == 0)
        return read_env(o, value, err);
    return refuse(err, name, "there is no such member");
}

/* What two members have to say to each other. */
static bool fits(const struct exec_options *o, const json_t *root, struct buf *err)
{
    if (!o->command)
        return refuse(err, "command", "is needed");
    if (o->files_limit > 0 && o->files_limit < FILES_MIN)
        return refuse(err, "files_limit", "no program starts with fewer than 8");
    for (size_t i = 0; i < NUMBERS && !o->persistent; i++)
        if (numbers[i].persistent && json_object_get(root, numbers[i].name))
            return refuse(err, numbers[i].name, "needs `\"mode\":\"persistent\"`");
    return true;
}

static bool fill(struct exec_options *o, json_t *root, struct buf *err)
{
    const char *name;
    json_t *value;

    json_object_foreach(root, name, value)
    {
        if (!read_member(o, name, value, err))
            return false;
    }
    return fits(o, root, err);
}

void *exec_options_new(const char *json, size_t len, struct buf *err)
{
    struct exec_options *o = calloc(1, sizeof(*o));
    json_t *root = json_read(json, len, JSON_REJECT_DUPLICATES, NULL);
    bool ok = false;

    if (o) {
        list_init(&o->hosts);
        list_init(&o->waiting);
        for (size_t i = 0; i < NUMBERS; i++)
            *place(o, &numbers[i]) = numbers[i].standard;
    }
    if (!o)
        buf_str(err, "out of memory");
    else if (!json_is_object(root))
        buf_str(err, "must be an object, each of its members once");
    else
        ok = fill(o, root, err);
    json_decref(root);
    if (ok)
        return o;
    exec_options_free(o);
    return NULL;
}

void exec_options_free(void *options)
{
    struct exec_options *o = options;

    if (!o)
        return;
    exec_hosts_leave(o);
    for (size_t i = 0; i < EXEC_ENV_MAX; i++)
        free(o->env[i]);
    free(o->command);
    free(o->directory);
    free(o);
}
