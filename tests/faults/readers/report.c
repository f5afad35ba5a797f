/* report: see the header. */
#include "tests/faults/readers/report.h"

#include "tests/faults/readers/farm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { VIOLATIONS_WRITTEN = 50, ID_SIZE = 48 };

void report_line(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}

static json_t *id_json(struct event_id id)
{
    char text[ID_SIZE];

    if (id_none(id))
        return json_null();
    snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, id.epoch, id.n);
    return json_string(text);
}

/* Bytes that came from outside may be no UTF-8. */
static json_t *text_json(const char *text, size_t len)
{
    json_t *string = json_stringn(text, len);

    if (string)
        return string;
    char clean[512];
    if (len > sizeof(clean))
        len = sizeof(clean);
    for (size_t i = 0; i < len; i++)
        clean[i] = (char)(text[i] >= ' ' && text[i] < 127 ? text[i] : '?');
    return json_stringn(clean, len);
}

/* --- as it happens ---------------------------------------------------------------- */

static json_t *trace_json(const struct trace *t)
{
    if (t->what)
        return json_pack("{s:I, s:s}", "at", (json_int_t)t->at_ms, "note", t->what);
    return json_pack("{s:I, s:o, s:s, s:s?, s:i, s:i}", "at", (json_int_t)t->at_ms, "id",
                     id_json(t->id), "type", event_type_name(t->type), "run",
                     t->run ? t->run->id : NULL, "attempt", (int)t->attempt, "bytes",
                     (int)t->bytes);
}

static json_t *recent_json(const struct reader *r)
{
    json_t *list = json_array();
    uint64_t count = r->trace_count < TRACES ? r->trace_count : TRACES;

    for (uint64_t i = r->trace_count - count; i < r->trace_count; i++)
        json_array_append_new(list, trace_json(&r->traces[i % TRACES]));
    return list;
}

static void where(json_t *line, const struct reader *r)
{
    json_object_set_new(line, "reader", json_integer(r->number));
    json_object_set_new(line, "connection", json_integer(r->connections));
    json_object_set_new(line, "port", json_integer(r->port ? r->port->number : 0));
    json_object_set_new(line, "at", json_integer(r->farm->wall_ms));
}

void report_violation(struct reader *r, const struct thread *thread, const char *kind,
                      const char *format, ...)
{
    char detail[512];
    va_list args;

    if (++r->farm->totals.violations > VIOLATIONS_WRITTEN)
        return;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    if (!thread && r->view_count == 1)
        thread = r->views[0].thread;
    json_t *line =
        json_pack("{s:s, s:s?}", "violation", kind, "thread", thread ? thread->id : NULL);
    where(line, r);
    json_object_set_new(line, "merge", json_boolean(r->merge));
    json_object_set_new(line, "detail", text_json(detail, strlen(detail)));
    json_object_set_new(line, "recent", recent_json(r));
    report_line(line);
}

void report_reset(struct reader *r, const struct view *v, const char *reason,
                  struct piece id)
{
    json_t *line =
        json_pack("{s:s, s:s, s:o, s:o}", "reset", reason, "thread", v->thread->id, "had",
                  id_json(v->pos), "now", id.at ? text_json(id.at, id.len) : json_null());
    where(line, r);
    report_line(line);
}

void report_refused(struct reader *r, int status, const char *code)
{
    json_t *line =
        json_pack("{s:i, s:o}", "refused", status, "code", text_json(code, strlen(code)));
    where(line, r);
    report_line(line);
}

void report_auth(struct reader *r, const json_t *data)
{
    json_t *line = json_pack("{s:O}", "auth", data);

    where(line, r);
    r->farm->totals.auths++;
    report_line(line);
}

/* --- when asked ------------------------------------------------------------------- */

struct now {
    int readers, connected, live;
    size_t open, excused;
};

static struct now look(struct farm *f)
{
    struct now now = {0};

    for (size_t i = 0; i < f->reader_size; i++) {
        struct reader *r = f->readers[i];
        if (!r || r->state == READER_CLOSED)
            continue;
        now.readers++;
        now.connected += r->state == READER_HEAD || r->state == READER_STREAM;
        now.live += r->state == READER_STREAM;
        for (size_t k = 0; k < r->view_count; k++)
            now.open += view_open(&r->views[k], &now.excused);
    }
    return now;
}

static void set(json_t *line, const char *name, uint64_t value)
{
    json_object_set_new(line, name, json_integer((json_int_t)value));
}

void report_status(struct farm *f)
{
    const struct totals *t = &f->totals;
    struct now now = look(f);
    json_t *line = json_pack("{s:i, s:i, s:i, s:I, s:I, s:o}", "readers", now.readers,
                             "connected", now.connected, "live", now.live, "open",
                             (json_int_t)now.open, "excused", (json_int_t)now.excused,
                             "latencyMs", latency_json(&f->latency));

    set(line, "events", t->events);
    set(line, "bytes", t->bytes);
    set(line, "bare", t->bare);
    set(line, "connects", t->connects);
    set(line, "reconnects", t->reconnects);
    set(line, "failed", t->failed);
    set(line, "resets", t->resets);
    set(line, "busy", t->busy);
    set(line, "byes", t->byes);
    set(line, "stalled", t->stalled);
    set(line, "auths", t->auths);
    set(line, "refused", t->refused);
    set(line, "cut", t->cut);
    set(line, "violations", t->violations);
    report_line(line);
}

static const char *outcome_of(const struct course *c)
{
    if (id_none(c->ended_at))
        return NULL;
    if (c->end_type == EVENT_ERROR)
        return "error";
    return c->code && strcmp(c->code, "cancelled") == 0 ? "cancelled" : "done";
}

static json_t *course_json(const struct reader *r, const struct view *v,
                           const struct course *c)
{
    bool ended = !id_none(c->ended_at);
    bool whole = ended ? c->end_whole : c->joined && !c->broken;
    uint64_t bytes = ended ? c->end_bytes : c->bytes;
    uint32_t attempt = ended ? c->end_attempt : c->attempt;

    return json_pack("{s:i, s:s, s:s, s:b, s:i, s:I, s:s?, s:s?, s:s?, s:o, s:i, s:b}",
                     "reader", (int)r->number, "thread", v->thread->id, "run", c->run->id,
                     "joined", (int)whole, "attempt", (int)attempt, "bytes",
                     (json_int_t)bytes, "sha256",
                     whole ? run_sha256(c->run, attempt, bytes) : NULL, "outcome",
                     outcome_of(c), "code", c->code, "end", id_json(c->ended_at),
                     "resets", (int)v->resets, "excused", !ended && c->was_reset);
}

/* One that was announced while this reader was there, and of which it saw nothing. */
static json_t *unseen_json(const struct reader *r, const struct view *v,
                           const struct run *run)
{
    return json_pack("{s:i, s:s, s:s, s:b, s:i, s:i, s:n, s:n, s:n, s:n, s:i, s:b}",
                     "reader", (int)r->number, "thread", v->thread->id, "run", run->id,
                     "joined", 0, "attempt", 0, "bytes", 0, "sha256", "outcome", "code",
                     "end", "resets", (int)v->resets, "excused",
                     (int)view_excuses(v, run));
}

static uint64_t report_view(const struct reader *r, struct view *v)
{
    uint64_t count = v->course_count;

    for (uint32_t i = 0; i < v->course_count; i++)
        report_line(course_json(r, v, &v->courses[i]));
    for (size_t i = v->opened_at; i < v->thread->announced_count; i++)
        if (!view_course(v, v->thread->announced[i], false)) {
            report_line(unseen_json(r, v, v->thread->announced[i]));
            count++;
        }
    return count;
}

void report_all(struct farm *f)
{
    uint64_t count = 0;

    for (size_t i = 0; i < f->reader_size; i++)
        for (size_t k = 0; f->readers[i] && k < f->readers[i]->view_count; k++)
            count += report_view(f->readers[i], &f->readers[i]->views[k]);
    report_line(json_pack("{s:I}", "reported", (json_int_t)count));
}
