/* view: see the header. */
#include "tests/faults/readers/view.h"

#include "tests/faults/readers/mem.h"

enum { LATE_MS = 10000 };

struct course *view_course(struct view *v, struct run *run, bool make)
{
    for (uint32_t i = v->course_count; i-- > 0;) /* the latest are asked for most */
        if (v->courses[i].run == run)
            return &v->courses[i];
    if (!make)
        return NULL;
    if (v->course_count == v->course_size) {
        v->course_size = v->course_size ? v->course_size * 2 : 2;
        v->courses = mem_more(v->courses, v->course_size, sizeof(*v->courses));
    }
    v->courses[v->course_count] = (struct course){.run = run};
    return &v->courses[v->course_count++];
}

/* Its receipt may have come a little later than what it says. */
bool view_excuses(const struct view *v, const struct run *run)
{
    return v->resets && run->announced_ms < v->reset_ms + LATE_MS;
}

enum owed { OWED_NOTHING, OWED_SETTLED, OWED_END, OWED_EXCUSED };

/* A reader that came after the receipt, and saw nothing of the run, came too late. */
static enum owed owed(struct view *v, size_t i)
{
    const struct course *c = view_course(v, v->thread->announced[i], false);

    if (c && !id_none(c->ended_at))
        return OWED_SETTLED;
    if (c)
        return c->was_reset ? OWED_EXCUSED : OWED_END;
    if (i < v->opened_at)
        return OWED_NOTHING;
    return view_excuses(v, v->thread->announced[i]) ? OWED_EXCUSED : OWED_END;
}

size_t view_open(struct view *v, size_t *ret_excused)
{
    size_t open = 0;
    bool settled = true;

    for (size_t i = v->first_open; i < v->thread->announced_count; i++) {
        enum owed what = owed(v, i);
        open += what == OWED_END;
        *ret_excused += what == OWED_EXCUSED;
        settled &= what == OWED_SETTLED;
        if (settled)
            v->first_open = i + 1;
    }
    return open;
}

void view_reset(struct view *v, int64_t now_ms)
{
    v->resets++;
    v->reset_ms = now_ms;
    v->has_start = false;
    for (uint32_t i = 0; i < v->course_count; i++) {
        struct course *c = &v->courses[i];
        c->joined = c->broken = false;
        c->freed = c->was_reset = true;
        c->attempt = 0;
    }
}
