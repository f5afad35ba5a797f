/* agents_file: jansson reads it, this file says what may stand where. It must never
 * repeat a value in a complaint. */
#include "worker/agents_file.h"

#include "common/json.h"
#include "common/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1024 * 1024, DESCRIPTION_MAX = 500 };

struct file {
    const char *path;
    bool (*add)(void *arg, const struct agent_given *g, struct buf *err);
    void *arg;
    struct buf where; /* "<path>: agents." */
    struct buf *err;
};

static bool read_whole(const char *path, struct buf *out, struct buf *err)
{
    FILE *f = fopen(path, "re");
    size_t n = 1;

    if (!f) {
        buf_printf(err, "%s: %s", path, strerror(errno));
        return false;
    }
    while (n > 0 && out->len <= FILE_MAX && buf_reserve(out, 4096)) {
        n = fread(out->data + out->len, 1, 4095, f);
        out->len += n;
    }
    if (ferror(f) || out->failed || out->len > FILE_MAX)
        buf_printf(err, "%s: %s", path,
                   ferror(f)     ? strerror(errno)
                   : out->failed ? "no memory"
                                 : "is larger than 1 MiB");
    fclose(f);
    return err->len == 0;
}

/* Its own words would quote what stands there. */
static const char *words(const json_error_t *why)
{
    switch (json_error_code(why)) {
    case json_error_duplicate_key:
        return "the name stands there twice";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_premature_end_of_input:
        return "the text ends too early";
    default:
        return "not JSON";
    }
}

static json_t *parse(const char *path, struct buf *err)
{
    enum json_trouble trouble = JSON_FINE;
    json_error_t why;
    json_t *root = NULL;
    struct buf text;

    buf_init(&text);
    if (read_whole(path, &text, err)) {
        root =
            json_read_file(text.data, text.len, JSON_REJECT_DUPLICATES, &why, &trouble);
        if (trouble == JSON_NO_MEMORY)
            buf_printf(err, "%s: no memory", path);
        else if (text.len == 0)
            buf_printf(err, "%s: is empty", path);
        else if (!root)
            buf_printf(err, "%s: line %d, column %d: %s", path, why.line, why.column,
                       words(&why));
    }
    buf_fini(&text);
    return root;
}

static bool refuse(const struct file *f, const char *name, const char *member,
                   const char *reason)
{
    buf_printf(f->err, "%s%.64s%s%.64s: %s", f->where.data, name, *member ? "." : "",
               member, reason);
    return false;
}

/* What is left of the object is its kind's. */
static bool add_agent(const struct file *f, const char *name, json_t *agent)
{
    struct agent_given g = {
        .where = f->where.data, .name = name, .name_len = strlen(name)};
    json_t *kind = json_object_get(agent, "kind");
    json_t *description = json_object_get(agent, "description");
    json_t *own;
    char *options;
    bool ok;

    if (!json_is_object(agent))
        return refuse(f, name, "", "must be an object");
    if (!json_is_string(kind))
        return refuse(f, name, "kind", kind ? "must be a text" : "is needed");
    if (description && (!json_is_string(description) ||
                        json_string_length(description) > DESCRIPTION_MAX))
        return refuse(f, name, "description", "must be a text of at most 500 bytes");
    own = json_copy(agent);
    json_object_del(own, "kind");
    json_object_del(own, "description");
    options = own ? json_text(own, JSON_COMPACT) : NULL;
    g.kind = json_string_value(kind);
    g.kind_len = json_string_length(kind);
    g.description = json_string_value(description);
    g.options = options;
    g.options_len = options ? strlen(options) : 0;
    ok = options ? f->add(f->arg, &g, f->err) : refuse(f, name, "", "no memory");
    free(options);
    json_decref(own);
    return ok;
}

static bool add_agents(const struct file *f, json_t *agents)
{
    const char *name;
    json_t *agent;

    json_object_foreach(agents, name, agent) if (!add_agent(f, name, agent)) return false;
    return true;
}

static bool read_root(const struct file *f, json_t *root, struct buf *ret_standard)
{
    json_t *standard = json_object_get(root, "default");
    json_t *agents = json_object_get(root, "agents");
    const char *name;
    json_t *value;

    if (!json_is_object(root)) {
        buf_printf(f->err, "%s: must be a JSON object", f->path);
        return false;
    }
    json_object_foreach(root, name, value)
    {
        if (value != standard && value != agents) {
            buf_printf(f->err, "%s: %.64s: there is no such member", f->path, name);
            return false;
        }
    }
    if (standard &&
        (!json_is_string(standard) ||
         !word_valid(json_string_value(standard), json_string_length(standard)))) {
        buf_printf(f->err, "%s: default: must be an agent's name", f->path);
        return false;
    }
    if (!json_is_object(agents)) {
        buf_printf(f->err, "%s: agents: %s", f->path,
                   agents ? "must be an object" : "is needed");
        return false;
    }
    if (standard)
        buf_add(ret_standard, json_string_value(standard), json_string_length(standard));
    return add_agents(f, agents);
}

bool agents_file_read(const char *path,
                      bool (*add)(void *arg, const struct agent_given *g,
                                  struct buf *err),
                      void *arg, struct buf *ret_standard, struct buf *err)
{
    struct file f = {.path = path, .add = add, .arg = arg, .err = err};
    json_t *root = parse(path, err);
    bool ok;

    buf_init(&f.where);
    buf_printf(&f.where, "%s: agents.", path);
    ok = root && !f.where.failed && read_root(&f, root, ret_standard);
    buf_fini(&f.where);
    json_decref(root);
    return ok && !ret_standard->failed;
}
