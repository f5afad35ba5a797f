/* trace: see trace.h. */
#include "common/trace.h"
#include "common/json.h"

#include <string.h>

bool request_id_valid(const char *s, size_t len)
{
    static const char marks[] = "._:/+=@-";

    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
              (c >= 'A' && c <= 'Z') || (c != 0 && strchr(marks, c))))
            return false;
    }
    return len > 0 && len <= REQUEST_ID_MAX;
}

/* `len` digits of hex; at least one is no zero, if `some`. */
static bool hex(const char *s, size_t len, bool some)
{
    bool zeros = true;

    for (size_t i = 0; i < len; i++) {
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
        zeros = zeros && s[i] == '0';
    }
    return !(some && zeros);
}

bool traceparent_valid(const char *s, size_t len)
{
    return len == TRACEPARENT_LEN && memcmp(s, "00-", 3) == 0 && hex(s + 3, 32, true) &&
           s[35] == '-' && hex(s + 36, 16, true) && s[52] == '-' && hex(s + 53, 2, false);
}

void trace_set_id(struct trace *t, const char *s, size_t len)
{
    if (!s || !request_id_valid(s, len))
        return;
    memcpy(t->request_id, s, len);
    t->request_id[len] = 0;
}

void trace_set_parent(struct trace *t, const char *s, size_t len)
{
    if (!s || !traceparent_valid(s, len))
        return;
    memcpy(t->parent, s, len);
    t->parent[len] = 0;
}

void trace_of_metadata(struct trace *ret, const char *metadata)
{
    json_t *all = json_read(metadata, metadata ? strlen(metadata) : 0, 0, NULL);
    const json_t *trace = json_object_get(all, "trace");
    const json_t *id = json_object_get(trace, "requestId");
    const json_t *parent = json_object_get(trace, "traceparent");

    *ret = (struct trace){0};
    trace_set_id(ret, json_string_value(id), json_string_length(id));
    trace_set_parent(ret, json_string_value(parent), json_string_length(parent));
    json_decref(all);
}

void trace_members(const struct trace *t, struct buf *out)
{
    if (t->request_id[0])
        buf_printf(out, ",\"requestId\":\"%s\"", t->request_id);
    if (t->parent[0])
        buf_printf(out, ",\"traceparent\":\"%s\"", t->parent);
}
