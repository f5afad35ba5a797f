/* agents: made from the operator's options and file at start and at every SIGHUP, looked
 * at for each run. A new kind is one line in `kinds`. */
#include "worker/agents.h"

#include "common/names.h"
#include "common/utf8.h"
#include "worker/agent.h"
#include "worker/agent_stats.h"
#include "worker/agents/demo.h"
#include "worker/agents/exec.h"
#include "worker/agents/openai.h"
#include "worker/agents_file.h"

#include <stdlib.h>
#include <string.h>

enum { AGENTS_MAX = 64 };

static const struct agent_kind *const kinds[] = {
    &agent_demo,
    &agent_exec,
    &agent_openai,
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

struct agents {
    struct agent_def *defs[AGENTS_MAX];
    size_t count;
    size_t named;    /* of them, the first so many are shown */
    size_t standard; /* index of who answers when nobody is named */
};

/* --- one -------------------------------------------------------------------------- */

const struct agent_def *agent_def_ref(const struct agent_def *def)
{
    ((struct agent_def *)def)->refs++;
    return def;
}

void agent_def_unref(const struct agent_def *def)
{
    struct agent_def *d = (struct agent_def *)def;

    if (!d || --d->refs > 0)
        return;
    if (d->options)
        d->kind->options_free(d->options);
    agent_stats_unref(d->stats);
    free(d->name);
    free(d->description);
    free(d);
}

static struct agent_def *def_new(const struct agent_given *g,
                                 const struct agent_kind *kind)
{
    struct agent_def *def = calloc(1, sizeof(*def));

    if (!def)
        return NULL;
    def->refs = 1;
    def->kind = kind;
    def->name = strndup(g->name, g->name_len);
    def->description = g->description ? strdup(g->description) : NULL;
    def->stats = agent_stats_new();
    if (def->name && def->stats && (def->description || !g->description))
        return def;
    agent_def_unref(def);
    return NULL;
}

/* --- all of them ------------------------------------------------------------------ */

static const struct agent_kind *find_kind(const char *name, size_t len)
{
    for (size_t i = 0; i < KINDS; i++)
        if (strlen(kinds[i]->name) == len && memcmp(kinds[i]->name, name, len) == 0)
            return kinds[i];
    return NULL;
}

static const struct agent_def *find(const struct agents *a, const char *name, size_t len)
{
    for (size_t i = 0; i < a->count; i++)
        if (strlen(a->defs[i]->name) == len && memcmp(a->defs[i]->name, name, len) == 0)
            return a->defs[i];
    return NULL;
}

static bool refuse(const struct agent_given *g, const char *reason, struct buf *err)
{
    buf_printf(err, "%s%.*s%s", g->where, (int)(g->name_len < 64 ? g->name_len : 64),
               g->name, reason);
    return false;
}

static bool refuse_kind(const struct agent_given *g, struct buf *err)
{
    refuse(g, ".kind: must be one of", err);
    for (size_t i = 0; i < KINDS; i++)
        buf_printf(err, "%s%s", i > 0 ? ", " : " ", kinds[i]->name);
    return false;
}

/* Is there a kind without options that was given some? */
static bool options_fit(const struct agent_kind *kind, const struct agent_given *g)
{
    return kind->options_new || (g->options_len == 2 && memcmp(g->options, "{}", 2) == 0);
}

static bool name_fits(const struct agents *a, const struct agent_given *g,
                      struct buf *err)
{
    if (!word_valid(g->name, g->name_len))
        return refuse(g, ": a name has 1 to 64 letters, digits and . _ : -", err);
    if (g->name_len == 7 && memcmp(g->name, "default", 7) == 0)
        return refuse(g, ": this name means who answers when nobody is named", err);
    if (find(a, g->name, g->name_len))
        return refuse(g, ": is there twice", err);
    if (a->count == AGENTS_MAX)
        return refuse(g, ": there may be 64 agents", err);
    return true;
}

static bool add(void *arg, const struct agent_given *g, struct buf *err)
{
    struct agents *a = arg;
    const struct agent_kind *kind = find_kind(g->kind, g->kind_len);
    struct agent_def *def;
    struct buf why;

    if (!name_fits(a, g, err))
        return false;
    if (!kind)
        return refuse_kind(g, err);
    if (!options_fit(kind, g))
        return refuse(g, ": this kind has no options", err);
    if (!(def = def_new(g, kind)))
        return refuse(g, ": no memory", err);
    buf_init(&why);
    if (kind->options_new)
        def->options = kind->options_new(g->options, g->options_len, &why);
    if (kind->options_new && !def->options) {
        refuse(g, ".", err);
        buf_str(err, why.len > 0 ? why.data : "no memory");
        agent_def_unref(def);
        buf_fini(&why);
        return false;
    }
    buf_fini(&why);
    a->defs[a->count++] = def;
    return true;
}

/* --- --agent and --agents --------------------------------------------------------- */

/* The length of the kind that `what` begins with: `<kind>` or `<kind>:…`. */
static size_t kind_length(const char *what, size_t len)
{
    const char *colon = memchr(what, ':', len);

    return colon ? (size_t)(colon - what) : len;
}

/* `<kind>` or `<kind>:<option>`, as if it stood in the file. */
static bool add_short(struct agents *a, struct agent_given *g, const char *what,
                      size_t len, struct buf *err)
{
    const struct agent_kind *kind;
    struct buf options;
    bool ok;

    g->kind = what;
    g->kind_len = kind_length(what, len);
    kind = find_kind(what, g->kind_len);
    if (g->kind_len < len && kind && !kind->shorthand)
        return refuse(g, ": nothing may stand behind this kind", err);
    if (!utf8_valid(what, len))
        return refuse(g, ": not UTF-8; it can stand in a script", err);
    buf_init(&options);
    buf_char(&options, '{');
    if (g->kind_len < len && kind) {
        buf_printf(&options, "\"%s\":", kind->shorthand);
        buf_json(&options, what + g->kind_len + 1, len - g->kind_len - 1);
    }
    buf_char(&options, '}');
    g->options = options.data;
    g->options_len = options.len;
    ok = options.failed ? refuse(g, ": no memory", err) : add(a, g, err);
    buf_fini(&options);
    return ok;
}

/* A comma ends an entry only when another `name=<kind>` follows, so that commands may
 * hold commas. */
static const char *entry_end(const char *s)
{
    for (const char *comma = strchr(s, ','); comma; comma = strchr(comma + 1, ',')) {
        const char *equals = strchr(comma, '=');
        if (equals && word_valid(comma + 1, (size_t)(equals - comma - 1)) &&
            find_kind(equals + 1, strcspn(equals + 1, ":,")))
            return comma;
    }
    return s + strlen(s);
}

static bool add_list(struct agents *a, const char *list, struct buf *err)
{
    while (*list) {
        const char *end = entry_end(list);
        const char *equals = memchr(list, '=', (size_t)(end - list));
        struct agent_given g = {.where = "--agents: ", .name = list};
        if (!equals) {
            buf_str(err, "--agents: name=exec:<command>,… is wanted");
            return false;
        }
        g.name_len = (size_t)(equals - list);
        if (!add_short(a, &g, equals + 1, (size_t)(end - equals - 1), err))
            return false;
        list = *end ? end + 1 : end;
    }
    return true;
}

/* Who answers when nobody is named: a name that is there, or a kind. */
static bool add_standard(struct agents *a, const char *what, const char *said_by,
                         struct buf *err)
{
    size_t len = strlen(what), kind_len = kind_length(what, len);
    struct agent_given g = {.where = "--agent: ", .name = what, .name_len = kind_len};

    for (a->standard = 0; a->standard < a->count; a->standard++)
        if (strcmp(a->defs[a->standard]->name, what) == 0)
            return true;
    if (said_by || !find_kind(what, kind_len)) {
        buf_printf(err, "%s%s: there is no agent of this name", said_by ? said_by : "",
                   said_by ? ": default" : "--agent");
        return false;
    }
    return add_short(a, &g, what, len, err);
}

static bool fill(struct agents *a, const struct agents_source *from, struct buf *err)
{
    static const struct agent_given demo = {.where = "",
                                            .name = "demo",
                                            .name_len = 4,
                                            .kind = "demo",
                                            .kind_len = 4,
                                            .options = "{}",
                                            .options_len = 2};
    const char *standard = from->standard ? from->standard : "demo";
    struct buf of_file;
    bool ok;

    buf_init(&of_file);
    ok = (!from->list || add_list(a, from->list, err)) &&
         (!from->file || agents_file_read(from->file, add, a, &of_file, err));
    if (ok)
        ok = of_file.len > 0 ? add_standard(a, of_file.data, from->file, err)
                             : add_standard(a, standard, NULL, err);
    buf_fini(&of_file);
    a->named = a->count;
    /* a file says all there is; without one the built-in one is always there */
    return ok && (from->file || find(a, "demo", 4) || add(a, &demo, err));
}

struct agents *agents_new(const struct agents_source *from, struct buf *err)
{
    struct agents *a = calloc(1, sizeof(*a));

    if (!a)
        buf_str(err, "no memory for the agents");
    if (!a || fill(a, from, err))
        return a;
    agents_free(a);
    return NULL;
}

void agents_free(struct agents *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++)
        agent_def_unref(a->defs[i]);
    free(a);
}

const struct agent_def *agents_find(const struct agents *a, const char *name)
{
    return strcmp(name, "default") == 0 ? a->defs[a->standard]
                                        : find(a, name, strlen(name));
}

const struct agent_def *agents_at(const struct agents *a, size_t i)
{
    return i < a->named ? a->defs[i] : NULL;
}

void agents_inherit(struct agents *a, const struct agents *before)
{
    for (size_t i = 0; before && i < a->count; i++) {
        const char *name = a->defs[i]->name;
        const struct agent_def *old = find(before, name, strlen(name));
        if (!old)
            continue;
        agent_stats_unref(a->defs[i]->stats);
        a->defs[i]->stats = agent_stats_ref(old->stats);
    }
}

void agents_metrics(const struct agents *a, struct buf *out)
{
    agent_stats_render((const struct agent_def *const *)a->defs, a->count, out);
}
