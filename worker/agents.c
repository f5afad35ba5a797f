/* agents: made from --agent and --agents once at start, looked at for each run. */
#include "worker/agents.h"

#include "common/names.h"
#include "worker/agent.h"
#include "worker/agents/demo.h"
#include "worker/agents/exec.h"

#include <stdlib.h>
#include <string.h>

enum { AGENTS_MAX = 64 };

struct agents {
    struct agent_def defs[AGENTS_MAX];
    size_t count;
    size_t standard; /* index of what --agent says */
};

static bool add(struct agents *a, const char *name, size_t name_len, const char *what,
                size_t what_len, struct buf *err)
{
    struct agent_def *def = &a->defs[a->count];
    bool exec = what_len > 5 && memcmp(what, "exec:", 5) == 0;
    bool demo = what_len == 4 && memcmp(what, "demo", 4) == 0;

    if (!word_valid(name, name_len)) {
        buf_str(err, "--agents: a name has only letters, digits and . _ : -");
        return false;
    }
    if (!exec && !demo) {
        buf_printf(err, "--agent: `%.*s` is not demo, exec:<command> or a known name",
                   (int)what_len, what);
        return false;
    }
    if (a->count == AGENTS_MAX) {
        buf_printf(err, "--agents: more than %d", AGENTS_MAX - 1);
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (strlen(a->defs[i].name) == name_len &&
            memcmp(a->defs[i].name, name, name_len) == 0) {
            buf_printf(err, "--agents: %s is there twice", a->defs[i].name);
            return false;
        }
    }
    def->name = strndup(name, name_len);
    def->kind = exec ? &agent_exec : &agent_demo;
    def->command = exec ? strndup(what + 5, what_len - 5) : NULL;
    a->count++;
    if (!def->name || (exec && !def->command)) {
        buf_str(err, "out of memory");
        return false;
    }
    return true;
}

/* A comma ends an entry only when another `name=exec:` or `name=demo` follows, so that
 * commands may hold commas. */
static const char *entry_end(const char *s)
{
    for (const char *comma = strchr(s, ','); comma; comma = strchr(comma + 1, ',')) {
        const char *equals = strchr(comma, '=');
        if (equals && word_valid(comma + 1, (size_t)(equals - comma - 1)) &&
            (strncmp(equals, "=exec:", 6) == 0 || strncmp(equals, "=demo", 5) == 0))
            return comma;
    }
    return s + strlen(s);
}

static bool add_list(struct agents *a, const char *list, struct buf *err)
{
    while (*list) {
        const char *end = entry_end(list);
        const char *equals = memchr(list, '=', (size_t)(end - list));
        if (!equals) {
            buf_str(err, "--agents: name=exec:<command>,… is wanted");
            return false;
        }
        if (!add(a, list, (size_t)(equals - list), equals + 1, (size_t)(end - equals - 1),
                 err))
            return false;
        list = *end ? end + 1 : end;
    }
    return true;
}

static const struct agent_def *find(const struct agents *a, const char *name)
{
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->defs[i].name, name) == 0)
            return &a->defs[i];
    return NULL;
}

static bool fill(struct agents *a, const char *agent, const char *list, struct buf *err)
{
    const struct agent_def *named;

    if (list && !add_list(a, list, err))
        return false;
    if (!find(a, "demo") && !add(a, "demo", 4, "demo", 4, err))
        return false;
    named = find(a, agent);
    if (named) {
        a->standard = (size_t)(named - a->defs);
        return true;
    }
    a->standard = a->count;
    return add(a, "exec", 4, agent, strlen(agent), err);
}

bool agents_check(const char *agent, const char *agents, struct buf *err)
{
    struct agents *a = calloc(1, sizeof(*a));
    bool ok = a && fill(a, agent, agents, err);

    agents_free(a);
    return ok;
}

struct agents *agents_new(const char *agent, const char *agents)
{
    struct agents *a = calloc(1, sizeof(*a));
    struct buf err;

    buf_init(&err);
    if (a && !fill(a, agent, agents, &err)) {
        agents_free(a);
        a = NULL;
    }
    buf_fini(&err);
    return a;
}

void agents_free(struct agents *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++) {
        free(a->defs[i].name);
        free(a->defs[i].command);
    }
    free(a);
}

const struct agent_def *agents_find(const struct agents *a, const char *name)
{
    return strcmp(name, "default") == 0 ? &a->defs[a->standard] : find(a, name);
}
