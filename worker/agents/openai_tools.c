/* openai_tools: pieces are keyed by `index`; where a server leaves it out, or gives all
 * calls the same, by `id`. A piece that names neither belongs to the last call. */
#include "worker/agents/openai_tools.h"

#include "common/json.h"
#include "worker/agents/openai_json.h"

#include <stdlib.h>
#include <string.h>

enum {
    TOOLS_MAX = 128,
    NAME_MAX_BYTES = 256,
    ARGUMENTS_MAX = 64 * 1024, /* as text in JSON at most three times that: an event */
};

void openai_tools_init(struct openai_tools *t)
{
    *t = (struct openai_tools){.list = NULL};
}

void openai_tools_fini(struct openai_tools *t)
{
    for (size_t i = 0; i < t->count; i++) {
        buf_fini(&t->list[i].id);
        buf_fini(&t->list[i].name);
        buf_fini(&t->list[i].arguments);
    }
    free(t->list);
    openai_tools_init(t);
}

static struct openai_tool *add_new(struct openai_tools *t, int64_t index)
{
    struct openai_tool *longer;

    if (t->count == TOOLS_MAX) {
        t->too_many = true;
        return NULL;
    }
    longer = realloc(t->list, (t->count + 1) * sizeof(*longer));
    if (!longer) {
        t->failed = true;
        return NULL;
    }
    t->list = longer;
    longer += t->count++;
    longer->index = index;
    buf_init(&longer->id);
    buf_init(&longer->name);
    buf_init(&longer->arguments);
    longer->id.max = longer->name.max = NAME_MAX_BYTES;
    longer->arguments.max = ARGUMENTS_MAX;
    return longer;
}

static bool has_id(const struct openai_tool *tool, const json_t *id)
{
    size_t len = json_string_length(id);

    return len > 0 && tool->id.len == len &&
           memcmp(tool->id.data, json_string_value(id), len) == 0;
}

/* Does this piece begin a call of its own, although its index is known? */
static bool is_another(const struct openai_tool *tool, const json_t *id,
                       const json_t *name)
{
    return json_string_length(id) > 0 && tool->id.len > 0 && !has_id(tool, id) &&
           json_string_length(name) > 0;
}

static struct openai_tool *find(struct openai_tools *t, const json_t *index,
                                const json_t *id, const json_t *name)
{
    int64_t n = openai_number(index);
    struct openai_tool *tool = NULL;

    for (size_t i = 0; i < t->count; i++)
        if (n >= 0 ? t->list[i].index == n : has_id(&t->list[i], id))
            tool = &t->list[i];
    if (!tool && n < 0 && json_string_length(id) == 0 && t->count > 0)
        tool = &t->list[t->count - 1];
    if (!tool || is_another(tool, id, name))
        tool = add_new(t, n >= 0 ? n : (int64_t)t->count);
    return tool;
}

/* Some servers say it in every piece. */
static void set_once(struct buf *b, const json_t *text)
{
    if (b->len == 0 && json_string_length(text) > 0)
        buf_add(b, json_string_value(text), json_string_length(text));
}

static void add_arguments(struct buf *b, const json_t *arguments)
{
    if (json_is_string(arguments)) {
        buf_add(b, json_string_value(arguments), json_string_length(arguments));
    } else if (json_is_object(arguments)) {
        char *text = json_text(arguments, JSON_COMPACT | JSON_REAL_PRECISION(15));
        if (text)
            buf_str(b, text);
        b->failed |= !text;
        free(text);
    }
}

static bool take(struct openai_tools *t, struct openai_tool *tool, const json_t *id,
                 const json_t *function)
{
    if (!tool)
        return true; /* the reason is in `t` */
    set_once(&tool->id, id);
    set_once(&tool->name, json_object_get(function, "name"));
    add_arguments(&tool->arguments, json_object_get(function, "arguments"));
    t->too_many |= tool->id.failed || tool->name.failed || tool->arguments.failed;
    return true;
}

bool openai_tools_add(struct openai_tools *t, const json_t *piece)
{
    const json_t *function = json_object_get(piece, "function");
    const json_t *id = json_object_get(piece, "id");

    if (!json_is_object(function) && json_string_length(id) == 0)
        return false;
    return take(
        t,
        find(t, json_object_get(piece, "index"), id, json_object_get(function, "name")),
        id, function);
}

bool openai_tools_add_function(struct openai_tools *t, const json_t *function)
{
    if (!json_is_object(function))
        return false;
    return take(t, t->count > 0 ? &t->list[0] : add_new(t, 0), NULL, function);
}

/* Between tokens only: inside a string there is no raw one. */
static void add_on_one_line(struct buf *out, const struct buf *json)
{
    size_t from = out->len;

    buf_add(out, json->data, json->len);
    for (size_t i = from; i < out->len; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
}

void openai_tool_json(const struct openai_tool *tool, size_t place, struct buf *out)
{
    buf_str(out, "{\"kind\":\"tool_call\",\"toolCallId\":");
    if (tool->id.len > 0)
        buf_json(out, tool->id.data, tool->id.len);
    else
        buf_printf(out, "\"call_%zu\"", place);
    buf_str(out, ",\"name\":");
    buf_json(out, tool->name.len > 0 ? tool->name.data : "", tool->name.len);
    buf_str(out, ",\"arguments\":");
    if (tool->arguments.len == 0)
        buf_str(out, "{}");
    else if (openai_json_is_object(tool->arguments.data, tool->arguments.len))
        add_on_one_line(out, &tool->arguments);
    else
        buf_json(out, tool->arguments.data, tool->arguments.len);
    buf_char(out, '}');
}
