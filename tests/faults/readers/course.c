/* course: a run as one reader sees it, and its text as a running stream: the next byte is
 * known beforehand, so nothing is kept of it. Pieces are made once for all readers who
 * are at about the same place. */
#include "tests/faults/readers/check.h"

#include "tests/faults/readers/farm.h"
#include "tests/faults/readers/report.h"

#include <inttypes.h>
#include <string.h>

/* --- text ------------------------------------------------------------------------- */

static const struct told *piece_of(struct farm *f, const struct course *c)
{
    struct told *t = &f->told[(c->run->key ^ c->attempt * 7919u ^ c->piece) % TOLD_MAX];

    if (t->key != c->run->key || t->attempt != c->attempt || t->n != c->piece) {
        t->key = c->run->key;
        t->attempt = c->attempt;
        t->n = c->piece;
        t->len = (uint8_t)story_piece(t->key, t->attempt, t->n, t->text);
    }
    return t;
}

/* The text went wrong `at` bytes into `e`: where does what stands there belong? */
static void tell_wrong(struct reader *r, const struct view *v, struct course *c,
                       const struct event *e, size_t at)
{
    struct story_marker m;
    size_t from = at > c->offset ? at - c->offset : 0;
    const struct run *other;

    c->broken = true;
    if (!story_find(e->text + from, e->text_len - from, &m)) {
        report_violation(r, v->thread, "changed text",
                         "byte %" PRIu64 " of attempt %u is not that of piece %u",
                         c->bytes, c->attempt, c->piece);
    } else if (strcmp(m.tag, c->run->tag) != 0) {
        other = book_run_of_tag(&r->farm->book, m.tag);
        report_violation(
            r, v->thread, "foreign",
            "text of run %s of thread %s, piece %u, where piece %u of %s belongs",
            other ? other->id : m.tag, other ? other->thread->id : "?", m.n, c->piece,
            c->run->id);
    } else if (m.attempt != c->attempt) {
        report_violation(r, v->thread, "text of another attempt",
                         "piece %u of attempt %u, where piece %u of attempt %u belongs",
                         m.n, m.attempt, c->piece, c->attempt);
    } else {
        const char *kind = m.n > c->piece   ? "lost text"
                           : m.n < c->piece ? "duplicated text"
                                            : "changed text";
        report_violation(r, v->thread, kind,
                         "piece %u stands where byte %u of piece %u belongs", m.n,
                         c->offset, c->piece);
    }
}

/* How many bytes are equal. */
static size_t common(const char *a, const char *b, size_t len)
{
    size_t i = 0;

    if (memcmp(a, b, len) == 0)
        return len;
    while (a[i] == b[i])
        i++;
    return i;
}

static void check_text(struct reader *r, const struct view *v, struct course *c,
                       const struct event *e)
{
    size_t at = 0;

    while (at < e->text_len) {
        const struct told *t = piece_of(r->farm, c);
        size_t part = t->len - c->offset, left = e->text_len - at;
        if (part > left)
            part = left;
        size_t equal = common(e->text + at, t->text + c->offset, part);
        c->bytes += equal;
        at += equal;
        c->offset = (uint8_t)(c->offset + equal);
        if (equal < part) {
            tell_wrong(r, v, c, e, at);
            return;
        }
        if (c->offset == t->len) {
            c->piece++;
            c->offset = 0;
        }
    }
}

/* Of a run whose beginning was not seen only its markers can be looked at. */
static void check_markers(struct reader *r, const struct view *v, const struct course *c,
                          const struct event *e)
{
    struct story_marker m;
    size_t at = 0;

    while (story_find(e->text + at, e->text_len - at, &m)) {
        if (strcmp(m.tag, c->run->tag) != 0 || m.attempt != e->attempt) {
            report_violation(r, v->thread, "foreign",
                             "a marker of %s, attempt %u, in run %s", m.tag, m.attempt,
                             c->run->id);
            return;
        }
        at += m.at + 1;
    }
}

/* --- its course ------------------------------------------------------------------- */

static void on_begin(struct reader *r, const struct view *v, struct course *c,
                     const struct event *e)
{
    if (e->status == STATUS_STARTED && c->attempt == e->attempt && c->joined)
        report_violation(r, v->thread, "begin", "attempt %u of run %s started twice",
                         c->attempt, c->run->id);
    c->attempt = (uint32_t)e->attempt;
    c->joined = true;
    c->broken = false;
    c->piece = 1;
    c->offset = 0;
    c->bytes = 0;
    if (id_cmp(e->id, c->run->last_begin) > 0)
        c->run->last_begin = e->id;
}

void check_whole(struct reader *r, struct view *v, const struct course *c)
{
    bool stopped = c->end_type == EVENT_DONE && c->code && strcmp(c->code, "stop") == 0;
    uint64_t told = (uint64_t)c->piece - 1;

    if (!stopped || !c->end_whole || c->freed || c->run->pieces < 0)
        return;
    if (c->offset || told < (uint64_t)c->run->pieces)
        report_violation(r, v->thread, "lost text",
                         "run %s is done with %" PRIu64 " pieces and %u bytes of %" PRId64
                         " pieces",
                         c->run->id, told, c->offset, c->run->pieces);
    else if (told > (uint64_t)c->run->pieces)
        report_violation(r, v->thread, "duplicated text",
                         "run %s is done with %" PRIu64
                         " pieces, and was to have %" PRId64,
                         c->run->id, told, c->run->pieces);
}

/* Somebody saw it begin where this reader was already, but this one did not. */
static void check_beginning(struct reader *r, const struct view *v,
                            const struct course *c, const struct event *e)
{
    struct event_id begin = c->run->last_begin;

    if (!c->joined && !c->freed && v->has_start && begin.epoch == e->id.epoch &&
        begin.epoch == v->start.epoch && begin.n > v->start.n && begin.n < e->id.n)
        report_violation(r, v->thread, "lost",
                         "run %s began at %" PRIu64 "-%" PRIu64
                         ", which this reader did not see",
                         c->run->id, begin.epoch, begin.n);
}

/* One run has one end, whoever tells it. */
static void check_outcome(struct reader *r, const struct view *v, const struct event *e)
{
    struct run *run = e->run;

    if (!run->end_type) {
        run->end_type = (uint8_t)e->type;
        run->end_code = e->code;
    } else if (run->end_type != e->type || run->end_code != e->code) {
        report_violation(
            r, v->thread, "other end", "run %s ends with %s %s, and had %s %s", run->id,
            event_type_name(e->type), e->code ? e->code : "",
            event_type_name(run->end_type), run->end_code ? run->end_code : "");
    }
}

static void on_end(struct reader *r, struct view *v, struct course *c,
                   const struct event *e)
{
    check_outcome(r, v, e);
    check_beginning(r, v, c, e);
    c->freed = false;
    c->end_type = (uint8_t)e->type;
    c->code = e->code;
    c->ended_at = e->id;
    c->end_whole = c->joined && !c->broken;
    c->end_bytes = c->bytes;
    c->end_attempt = (uint32_t)e->attempt;
    check_whole(r, v, c);
}

static bool is_begin(const struct event *e)
{
    return e->type == EVENT_STATUS &&
           (e->status == STATUS_STARTED || e->status == STATUS_REWIND);
}

/* false: it is not this attempt's turn */
static bool check_attempt(struct reader *r, const struct view *v, struct course *c,
                          const struct event *e)
{
    if (e->attempt < c->attempt) {
        report_violation(r, v->thread, "attempt",
                         "attempt %" PRId64 " of run %s after %u", e->attempt, c->run->id,
                         c->attempt);
        return false;
    }
    if (is_begin(e))
        return true;
    if (c->attempt && e->attempt > c->attempt) {
        c->joined = false;
        report_violation(r, v->thread, "begin",
                         "attempt %" PRId64 " of run %s begins with %s", e->attempt,
                         c->run->id, event_type_name(e->type));
    }
    c->attempt = (uint32_t)e->attempt;
    return true;
}

static void check_message(struct reader *r, const struct view *v, const struct event *e)
{
    if (!e->run->message_id)
        e->run->message_id = e->message_id;
    else if (e->run->message_id != e->message_id)
        report_violation(
            r, v->thread, "foreign", "message %s in run %s, whose answer is %s",
            e->message_id ? e->message_id : "none", e->run->id, e->run->message_id);
}

void check_course(struct reader *r, struct view *v, const struct event *e)
{
    struct course *c = view_course(v, e->run, true);
    bool ends = e->type == EVENT_DONE || e->type == EVENT_ERROR;

    c->was_reset = false; /* heard of again: its end will come */
    check_message(r, v, e);
    if (!id_none(c->ended_at) && !c->freed) {
        report_violation(r, v->thread, ends ? "second end" : "after end",
                         "%s of run %s, which ended at %" PRIu64 "-%" PRIu64,
                         event_type_name(e->type), e->run->id, c->ended_at.epoch,
                         c->ended_at.n);
        return;
    }
    if (e->type == EVENT_STATUS && e->status == STATUS_QUEUED)
        return; /* in front of an attempt, or behind one: not of it */
    if (!check_attempt(r, v, c, e))
        return;
    if (is_begin(e))
        on_begin(r, v, c, e);
    else if (ends)
        on_end(r, v, c, e);
    else if (e->type == EVENT_TOKEN && c->joined && !c->broken)
        check_text(r, v, c, e);
    else if (e->type == EVENT_TOKEN && !c->broken)
        check_markers(r, v, c, e);
}
