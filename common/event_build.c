/* event_build: events that are made here: a run's own, an outsider's brought into shape,
 * neighbours merged. Everything works on escaped bytes; text is never decoded. What is
 * built here must pass event_check. */
#include "common/event.h"
#include "common/jsonscan.h"

#include <string.h>

static const char *const type_names[] = {
    [EVENT_OTHER] = NULL,    [EVENT_TOKEN] = "token", [EVENT_STATUS] = "status",
    [EVENT_DELTA] = "delta", [EVENT_DONE] = "done",   [EVENT_ERROR] = "error",
};

/* --- events of a run --------------------------------------------------------- */

static void add_head(struct buf *out, const struct event_run *run, enum event_type type)
{
    if (!type_names[type]) {
        out->failed = true;
        return;
    }
    buf_str(out, "{\"type\":\"");
    buf_str(out, type_names[type]);
    buf_str(out, "\",\"threadId\":");
    buf_json(out, run->thread_id, strlen(run->thread_id));
    buf_str(out, ",\"content\":");
}

static void add_foot(struct buf *out, const struct event_run *run, int64_t ts_ms)
{
    buf_printf(out, ",\"ts\":%lld,\"runId\":", (long long)ts_ms);
    buf_json(out, run->run_id, strlen(run->run_id));
    buf_str(out, ",\"agentId\":");
    buf_json(out, run->agent_id, strlen(run->agent_id));
    buf_str(out, ",\"messageId\":");
    buf_json(out, run->message_id, strlen(run->message_id));
    buf_printf(out, ",\"attempt\":%lld}", (long long)run->attempt);
}

void event_token(struct buf *out, const struct event_run *run, const char *text,
                 size_t len, int64_t ts_ms)
{
    add_head(out, run, EVENT_TOKEN);
    buf_json(out, text, len);
    add_foot(out, run, ts_ms);
}

void event_json(struct buf *out, const struct event_run *run, enum event_type type,
                const char *content_json, size_t len, int64_t ts_ms)
{
    add_head(out, run, type);
    buf_add(out, content_json, len);
    add_foot(out, run, ts_ms);
}

/* --- an outsider's event ----------------------------------------------------- */

/* Valid JSON without the space between its tokens. */
static void add_compact(struct buf *out, const char *json, size_t len)
{
    bool quoted = false;
    size_t kept = 0; /* from here on nothing was written yet */

    for (size_t i = 0; i < len; i++) {
        char c = json[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            buf_add(out, json + kept, i - kept);
            kept = i + 1;
        }
    }
    buf_add(out, json + kept, len - kept);
}

static bool is_outside_event(const struct event_view *v)
{
    if (!v->content.at)
        return false;
    switch (v->type) {
    case EVENT_OTHER:
        return false;
    case EVENT_DELTA:
        return v->content.at[0] == '{';
    case EVENT_TOKEN:
    case EVENT_STATUS:
    case EVENT_DONE:
    case EVENT_ERROR:
        return true;
    }
    return false;
}

static void add_members(struct buf *out, const char *json, size_t len)
{
    struct jsonscan_piece key, value;
    struct jsonscan s;
    bool first = true;

    jsonscan_init(&s, json, len, EVENT_MAX_DEPTH);
    while (jsonscan_member(&s, &key, &value) == JSONSCAN_OK) {
        if (key.len == 4 && memcmp(key.at, "\"id\"", 4) == 0)
            continue;
        buf_char(out, first ? '{' : ',');
        buf_add(out, key.at, key.len);
        buf_char(out, ':');
        add_compact(out, value.at, value.len);
        first = false;
    }
}

enum event_check event_normalize(const char *json, size_t len, const char *thread_id,
                                 int64_t now_ms, struct buf *out,
                                 struct event_view *ret_view)
{
    size_t before = out->len;
    struct event_view v;
    enum event_check r = event_check(json, len, thread_id, strlen(thread_id), &v);

    if (r != EVENT_OK)
        return r;
    if (!is_outside_event(&v))
        return EVENT_BAD_FIELD;
    add_members(out, json, len);
    if (!v.thread_id.at) {
        buf_str(out, ",\"threadId\":");
        buf_json(out, thread_id, strlen(thread_id));
    }
    if (!v.ts_span.at) {
        buf_printf(out, ",\"ts\":%lld", (long long)now_ms);
        v.ts = now_ms;
    }
    buf_char(out, '}');
    if (!out->failed && out->len - before > EVENT_MAX_BYTES - EVENT_ID_ROOM) {
        out->len = before;
        out->data[before] = '\0';
        return EVENT_TOO_LARGE;
    }
    v.id = (struct event_id){0};
    v.id_span = (struct span){0};
    *ret_view = v;
    return EVENT_OK;
}

/* --- neighbours -------------------------------------------------------------- */

enum { CUTS = 3 };

/* The three values that may differ, in the order in which they stand in the event. */
static size_t cuts_of(const struct event_view *v, struct span cuts[CUTS])
{
    const struct span all[CUTS] = {v->id_span, v->ts_span, v->content};
    size_t n = 0;

    for (size_t i = 0; i < CUTS; i++) {
        size_t at = n;
        if (!all[i].at)
            continue;
        for (; at > 0 && cuts[at - 1].at > all[i].at; at--)
            cuts[at] = cuts[at - 1];
        cuts[at] = all[i];
        n++;
    }
    return n;
}

static bool same_bytes(const char *a, const char *a_end, const char *b, const char *b_end)
{
    return a_end - a == b_end - b && memcmp(a, b, (size_t)(a_end - a)) == 0;
}

/* The keys stand between the cuts, so equal bytes there mean the same cuts, too. */
static bool same_but_cuts(const char *a, size_t a_len, const struct event_view *av,
                          const char *b, size_t b_len, const struct event_view *bv)
{
    const char *a_end = a + a_len, *b_end = b + b_len;
    struct span ac[CUTS], bc[CUTS];
    size_t n = cuts_of(av, ac);

    if (n != cuts_of(bv, bc))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!same_bytes(a, ac[i].at, b, bc[i].at))
            return false;
        a = ac[i].at + ac[i].len;
        b = bc[i].at + bc[i].len;
    }
    return same_bytes(a, a_end, b, b_end);
}

bool event_mergeable(const char *a, size_t a_len, const struct event_view *av,
                     const char *b, size_t b_len, const struct event_view *bv)
{
    if (av->type != EVENT_TOKEN || bv->type != EVENT_TOKEN)
        return false;
    if (!av->content.at || !bv->content.at)
        return false;
    if (b_len + av->content.len - 2 > EVENT_MERGE_MAX_BYTES)
        return false;
    return same_but_cuts(a, a_len, av, b, b_len, bv);
}

void event_merge(struct buf *out, const char *a, size_t a_len,
                 const struct event_view *av, const char *b, size_t b_len,
                 const struct event_view *bv)
{
    /* b, with a's text at the beginning of its own */
    size_t head = (size_t)(bv->content.at - b) + 1;

    (void)a, (void)a_len;
    buf_reserve(out, b_len + av->content.len);
    buf_add(out, b, head);
    buf_add(out, av->content.at + 1, av->content.len - 2);
    buf_add(out, b + head, b_len - head);
}
