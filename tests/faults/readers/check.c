/* check: blocks, and what the bridge itself has to say. */
#include "tests/faults/readers/check.h"

#include "tests/faults/readers/farm.h"
#include "tests/faults/readers/report.h"

#include <string.h>

static void trace_event(struct reader *r, const struct event *e, size_t bytes)
{
    struct trace *t = &r->traces[r->trace_count++ % TRACES];

    *t = (struct trace){.at_ms = r->farm->wall_ms,
                        .id = e->id,
                        .run = e->run,
                        .attempt = (uint32_t)e->attempt,
                        .bytes = (uint32_t)bytes,
                        .type = e->type};
}

static struct view *view_of(struct reader *r, const struct event *e)
{
    for (size_t i = 0; i < r->view_count; i++)
        if (e->thread && r->views[i].thread == e->thread)
            return &r->views[i];
    return NULL;
}

/* --- events ----------------------------------------------------------------------- */

static bool check_id_line(struct reader *r, const struct block *b, const struct event *e)
{
    const char *wrong = NULL;

    if (!e->id_text && b->id.at)
        wrong = "an id line on an event that has none";
    else if (e->id_text && !b->id.at)
        wrong = "an event with an id, and no id line";
    else if (e->id_text && r->view_count == 1 &&
             (b->id.len != strlen(e->id_text) ||
              memcmp(b->id.at, e->id_text, b->id.len) != 0))
        wrong = "the id line is not the event's id";
    if (wrong)
        report_violation(r, e->thread, "framing", "%s", wrong);
    return !wrong;
}

static void count_latency(struct reader *r, const struct event *e)
{
    if (e->ts_ms >= r->opened_wall_ms) /* else it is history */
        latency_add(&r->farm->latency, r->farm->wall_ms - e->ts_ms);
}

static void on_numbered(struct reader *r, struct view *v, const struct block *b,
                        const struct event *e)
{
    bool again = v->has_pos && id_cmp(e->id, v->pos) <= 0;

    check_order(r, v, e);
    trace_event(r, e, b->data.len);
    if (again)
        return; /* told; its text would only be told again */
    if (r->view_count > 1) {
        check_positions(r, b->id);
    } else {
        memcpy(r->last_id, b->id.at, b->id.len);
        r->last_id[b->id.len] = '\0';
    }
    if (e->run && e->run->thread != v->thread)
        report_violation(r, v->thread, "foreign", "run %s is one of thread %s",
                         e->run->id, e->run->thread->id);
    else if (e->run)
        check_course(r, v, e);
    count_latency(r, e);
}

static void on_event(struct reader *r, const struct block *b)
{
    const char *why = NULL;
    const struct event *e = event_read(r->farm->events, b->data.at, b->data.len, &why);
    struct view *v = e ? view_of(r, e) : NULL;

    r->farm->totals.events++;
    if (!e) {
        report_violation(r, NULL, "framing", "%s: %.*s", why,
                         (int)(b->data.len < 120 ? b->data.len : 120), b->data.at);
    } else if (e->thread_id && !v) {
        trace_event(r, e, b->data.len);
        report_violation(r, NULL, "foreign", "an event of thread %s", e->thread_id);
    } else if (!check_id_line(r, b, e)) {
        trace_event(r, e, b->data.len);
    } else if (id_none(e->id)) {
        trace_event(r, e, b->data.len);
        r->farm->totals.bare++;
    } else {
        on_numbered(r, v, b, e);
    }
}

/* --- the bridge's own ------------------------------------------------------------- */

static void on_reset(struct reader *r, const struct block *b, const json_t *data)
{
    const char *id = json_string_value(json_object_get(data, "threadId"));
    const char *reason = json_string_value(json_object_get(data, "reason"));
    struct view *v = NULL;

    for (size_t i = 0; id && i < r->view_count; i++)
        if (strcmp(r->views[i].thread->id, id) == 0)
            v = &r->views[i];
    if (!v || !reason) {
        report_violation(r, NULL, "framing", "a reset of none of the reader's threads");
        return;
    }
    report_reset(r, v, reason, b->id);
    r->farm->totals.resets++;
    view_reset(v, r->farm->now_ms);
    if (b->id.at)
        check_positions_reset(r, b->id, v);
    else
        v->has_pos = false;
}

/* A name's data and what else it asks for. */
static void on_known(struct reader *r, const struct block *b, const char *name,
                     const json_t *data)
{
    struct totals *t = &r->farm->totals;

    if (strcmp(name, "reset") == 0) {
        on_reset(r, b, data);
        return;
    }
    if (b->id.at)
        check_positions(r, b->id);
    if (strcmp(name, "busy") == 0)
        t->busy++;
    else if (strcmp(name, "bye") == 0)
        t->byes++;
    else if (strcmp(name, "stalled") == 0)
        t->stalled++;
    else if (strcmp(name, "auth") == 0)
        report_auth(r, data);
}

static void on_named(struct reader *r, const struct block *b)
{
    static const char *const names[] = {"ready", "reset", "bye",
                                        "busy",  "auth",  "stalled"};
    json_t *data = json_loadb(b->data.at, b->data.len, JSON_REJECT_DUPLICATES, NULL);
    const char *name = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (b->name.len == strlen(names[i]) &&
            memcmp(b->name.at, names[i], b->name.len) == 0)
            name = names[i];
    if (!name || !json_is_object(data)) {
        report_violation(r, NULL, "framing", "an event named %.*s%s",
                         (int)(b->name.len < 40 ? b->name.len : 40), b->name.at,
                         name ? " without an object" : "");
    } else {
        reader_note(r, name);
        on_known(r, b, name, data);
    }
    json_decref(data);
}

void check_block(struct reader *r, const struct block *b)
{
    if (b->name.at)
        on_named(r, b);
    else
        on_event(r, b);
}
