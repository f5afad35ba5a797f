/* order: ids and positions. With merge=0 an event is the successor of the one before. In
 * merged streams only a token may stand for several ids, so anything else is still the
 * successor, and no id that another reader saw as something else may be skipped. */
#include "tests/faults/readers/check.h"

#include "tests/faults/readers/report.h"

#include <inttypes.h>
#include <string.h>

#define ID "%" PRIu64 "-%" PRIu64

static bool was_recent(const struct reader *r, const struct view *v, struct event_id id)
{
    for (size_t i = 0; i < TRACES && i < r->trace_count; i++) {
        const struct trace *t = &r->traces[(r->trace_count - 1 - i) % TRACES];
        if (!t->what && id_cmp(t->id, id) == 0 &&
            (!t->run || t->run->thread == v->thread))
            return true;
    }
    return false;
}

/* Ids between `after` and the event's, of its epoch, are missing. */
static void check_skipped(struct reader *r, const struct view *v, const struct event *e,
                          struct event_id after)
{
    struct event_id firm;

    if (!r->merge || e->type != EVENT_TOKEN)
        report_violation(r, v->thread, "lost",
                         "the next event is " ID " and not the successor of " ID,
                         e->id.epoch, e->id.n, v->pos.epoch, v->pos.n);
    else if (thread_firm_between(v->thread, after, e->id, &firm))
        report_violation(r, v->thread, "lost",
                         "a token's id skips " ID
                         ", which was no token for another reader",
                         firm.epoch, firm.n);
}

static void check_next(struct reader *r, struct view *v, const struct event *e)
{
    int way = id_cmp(e->id, v->pos);

    if (way <= 0) {
        bool again = way == 0 || was_recent(r, v, e->id);
        report_violation(r, v->thread, again ? "duplicate" : "reordered",
                         ID " after " ID " without a reset", e->id.epoch, e->id.n,
                         v->pos.epoch, v->pos.n);
        return;
    }
    if (e->id.epoch == v->pos.epoch && e->id.n > v->pos.n + 1)
        check_skipped(r, v, e, v->pos);
    else if (e->id.epoch != v->pos.epoch && e->id.n > 1)
        check_skipped(r, v, e, (struct event_id){e->id.epoch, 0});
}

void check_order(struct reader *r, struct view *v, const struct event *e)
{
    if (v->has_pos)
        check_next(r, v, e);
    if (!v->has_start) {
        v->start = v->has_pos ? v->pos : (struct event_id){e->id.epoch, e->id.n - 1};
        v->has_start = true;
    }
    if (!v->has_pos || id_cmp(e->id, v->pos) > 0)
        v->pos = e->id;
    v->has_pos = true;
    if (e->type != EVENT_TOKEN)
        thread_saw_firm(v->thread, e->id);
}

/* --- positions -------------------------------------------------------------------- */

static bool list_read(const struct reader *r, struct piece id, struct event_id *ret)
{
    const char *at = id.at, *end = id.at + id.len;

    for (size_t i = 0; i < r->view_count; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t len = (size_t)((comma ? comma : end) - at);
        if ((i + 1 == r->view_count) != !comma)
            return false;
        ret[i] = (struct event_id){0, 0};
        if (!(len == 1 && *at == '0') && !event_id_read(at, len, &ret[i]))
            return false;
        at = comma ? comma + 1 : end;
    }
    return true;
}

static void check_position(struct reader *r, struct view *v, struct event_id said)
{
    if (!v->has_pos && !id_none(said)) {
        v->pos = v->start = said;
        v->has_pos = v->has_start = true;
    } else if (v->has_pos && id_cmp(v->pos, said) != 0) {
        report_violation(r, v->thread, "position",
                         "the id line says " ID ", but what was delivered ends with " ID,
                         said.epoch, said.n, v->pos.epoch, v->pos.n);
    }
}

static void positions(struct reader *r, struct piece id, struct view *fresh)
{
    struct event_id said[VIEWS_MAX];

    if (id.len >= (size_t)ID_TEXT_MAX * r->view_count || !list_read(r, id, said)) {
        report_violation(r, NULL, "framing", "the id line is no list of positions: %.*s",
                         (int)(id.len < 200 ? id.len : 200), id.at);
        return;
    }
    for (size_t i = 0; i < r->view_count; i++) {
        if (&r->views[i] == fresh)
            fresh->has_pos = false;
        check_position(r, &r->views[i], said[i]);
    }
    memcpy(r->last_id, id.at, id.len);
    r->last_id[id.len] = '\0';
}

void check_positions(struct reader *r, struct piece id)
{
    positions(r, id, NULL);
}

void check_positions_reset(struct reader *r, struct piece id, struct view *fresh)
{
    positions(r, id, fresh);
}
