/* follow: see follow.h. */
#include "follow.h"

#include "../fuzz.h"

enum { MERGED_MAX = 256 };

static const struct truth_thread *thread_at(const struct follow *f, int place)
{
    return &truth.threads[f->threads[place]];
}

static bool wants(const struct follow *f, const struct truth_entry *e)
{
    return f->run < 0 || e->run == f->run;
}

static int before(const struct follow *f, const struct truth_entry *e)
{
    return f->run < 0 ? e->before : e->run_before;
}

/* --- positions ------------------------------------------------------------------------
 */

/* "17-3,0": false: not as many as there are threads. */
static bool read_ids(const char *text, int count, struct event_id *ret)
{
    for (int i = 0; i < count; i++) {
        size_t len = strcspn(text, ",");
        ret[i] = (struct event_id){0, 0};
        if (!(len == 1 && *text == '0') && !event_id_parse(text, len, &ret[i]))
            return false;
        text += len;
        if (i + 1 < count && *text++ != ',')
            return false;
    }
    return *text == '\0';
}

/* It has been told that it stands at `id`: nothing that is kept was left out. */
static void check_place(struct follow *f, int i, struct event_id id)
{
    struct follow_place *p = &f->places[i];
    const struct truth_thread *t = thread_at(f, i);
    struct event_id base = p->last >= 0 ? t->entries[p->last].id : p->at;

    MUST(p->how != FOLLOW_LOST);
    if (p->how == FOLLOW_ANY) {
        *p = (struct follow_place){.how = FOLLOW_BEHIND, .at = id, .last = -1};
        return;
    }
    MUST(event_id_cmp(id, base) >= 0);
    for (int n = 0; n < t->count; n++) {
        const struct truth_entry *e = &t->entries[n];
        MUST(e->gone || !wants(f, e) || event_id_cmp(e->id, base) <= 0 ||
             event_id_cmp(e->id, id) > 0);
    }
}

static void check_id(struct follow *f, const char *id, int own, struct event_id own_id)
{
    struct event_id ids[FOLLOW_THREADS];

    if (!id) {
        MUST(own < 0 || f->count > 1); /* only while another thread has no position */
        return;
    }
    MUST(read_ids(id, f->count, ids));
    for (int i = 0; i < f->count; i++) {
        if (i == own)
            MUST(event_id_eq(ids[i], own_id));
        else
            check_place(f, i, ids[i]);
    }
    MUST(strlen(id) < sizeof(f->last_id));
    memcpy(f->last_id, id, strlen(id) + 1);
}

/* --- events ----------------------------------------------------------------------------
 */

/* Nobody had given it a position: is this where it was to begin? Who asks while another's
 * question is under way shares the answer, which may be older. */
static void check_beginning(const struct follow *f, const struct truth_thread *t,
                            const struct truth_entry *e)
{
    bool steady = t->live_step < f->step; /* since it asked */
    struct event_id began;

    if (f->since_now && f->alone)
        MUST(e->step >= f->step);
    if (!f->since_run || !steady || f->run >= 0 || !f->alone)
        return;
    if (!truth_began(t, &began)) {
        MUST(e->step >= f->step);
        return;
    }
    for (int n = 0; n < t->count; n++) /* what it was to have and did not get */
        MUST(t->entries[n].gone || event_id_cmp(t->entries[n].id, began) < 0 ||
             event_id_cmp(t->entries[n].id, e->id) >= 0);
    int b = before(f, e);
    for (int n = 0; n < t->ended_count; n++) /* an ended run that is cut */
        MUST(event_id_cmp(t->ended[n].began, e->id) >= 0 ||
             event_id_cmp(t->ended[n].ended, e->id) < 0 || b < 0 || t->entries[b].gone);
}

static void check_next(struct follow *f, int i, int entry)
{
    struct follow_place *p = &f->places[i];
    const struct truth_thread *t = thread_at(f, i);
    MUST(entry >= 0 && entry < t->count);
    const struct truth_entry *e = &t->entries[entry];
    int b = before(f, e);

    MUST(wants(f, e));
    MUST(p->how != FOLLOW_LOST);
    if (p->last >= 0) {
        MUST(b == p->last);
    } else if (p->how == FOLLOW_ANY) {
        check_beginning(f, t, e);
    } else {
        MUST(event_id_cmp(e->id, p->at) > 0);
        bool close = b < 0 || event_id_cmp(t->entries[b].id, p->at) <= 0;
        bool exact = f->run >= 0 ? close
                                 : event_id_follows(p->at, e->id) ||
                                       (b >= 0 && event_id_eq(t->entries[b].id, p->at));
        if (p->how == FOLLOW_AFTER && !event_id_zero(p->at))
            MUST(exact);
        else
            MUST(close || t->entries[b].gone);
    }
    p->how = FOLLOW_AFTER;
    p->last = entry;
    f->saw_end |= f->run >= 0 && e->kind == TRUTH_DONE;
}

static int place_of(const struct follow *f, int thread)
{
    for (int i = 0; i < f->count; i++)
        if (f->threads[i] == thread)
            return i;
    MUST(!"an event of a thread that it does not read");
    return -1;
}

static void on_numbered(struct follow *f, const struct sse_event *e)
{
    int thread, entries[MERGED_MAX], count;
    struct buf json;

    MUST(truth_read(e->data, &thread, entries, MERGED_MAX, &count));
    int i = place_of(f, thread);
    MUST(count == 1 || f->merge);
    for (int n = 0; n < count; n++)
        check_next(f, i, entries[n]);
    buf_init(&json);
    truth_json(&truth.threads[thread], entries, count, &json);
    MUST(json.len == e->len && memcmp(json.data, e->data, e->len) == 0);
    buf_fini(&json);
    check_id(f, e->id, i, truth.threads[thread].entries[entries[count - 1]].id);
}

static void on_bare(const struct follow *f, const struct sse_event *e)
{
    char own[160];

    for (int i = 0; i < f->count; i++) {
        const char *name = thread_at(f, i)->name;
        snprintf(own, sizeof(own),
                 "{\"type\":\"note\",\"threadId\":\"%s\",\"for\":\"%s\"}", name, name);
        if (strcmp(own, e->data) == 0)
            return;
    }
    MUST(!"something that nobody published in its threads");
}

/* Its place is lost: what it says next is where it goes on. */
static void on_reset(struct follow *f, const struct sse_event *e)
{
    struct event_id ids[FOLLOW_THREADS];
    char needle[64];

    for (int i = 0; i < f->count; i++) {
        snprintf(needle, sizeof(needle), "\"threadId\":\"%s\"", thread_at(f, i)->name);
        if (!strstr(e->data, needle))
            continue;
        f->places[i] = (struct follow_place){.how = FOLLOW_ANY, .last = -1};
        if (e->id && read_ids(e->id, f->count, ids))
            f->places[i] =
                (struct follow_place){.how = FOLLOW_BEHIND, .at = ids[i], .last = -1};
        f->since_run = f->since_now = false;
        return;
    }
    MUST(!"a reset for a thread that it does not read");
}

static void on_named(struct follow *f, const struct sse_event *e)
{
    static const char *const names[] = {"ready", "reset",   "bye",
                                        "busy",  "stalled", "auth"};
    bool known = false;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        known |= strcmp(names[i], e->name) == 0;
    MUST(known);
    if (strcmp(e->name, "reset") == 0)
        on_reset(f, e);
    if (strcmp(e->name, "ready") == 0)
        MUST(e->id && strstr(e->data, e->id));
    check_id(f, e->id, -1, (struct event_id){0, 0});
}

static void on_event(const struct sse_event *e, void *arg)
{
    struct follow *f = arg;

    MUST(!f->saw_end || e->name);
    if (e->name)
        on_named(f, e);
    else if (strstr(e->data, "\"id\":"))
        on_numbered(f, e);
    else
        on_bare(f, e);
}

/* --- life ------------------------------------------------------------------------------
 */

void follow_begin(struct follow *f, const char *since)
{
    struct event_id ids[FOLLOW_THREADS];
    bool good = *since && read_ids(since, f->count, ids);

    f->step = truth.step;
    f->saw_end = false;
    for (int i = 0; i < f->count; i++) {
        f->places[i] = (struct follow_place){.last = -1};
        if (good)
            f->places[i] =
                (struct follow_place){.how = FOLLOW_AFTER, .at = ids[i], .last = -1};
        else if (*since)
            f->places[i].how = FOLLOW_LOST;
    }
    sse_reader_init(&f->sse, true, true, on_event, f);
}

void follow_bytes(struct follow *f, const char *bytes, size_t len)
{
    if (getenv("FUZZ_TRACE"))
        fprintf(stderr, "to %d: %.*s\n", f->socket, (int)len, bytes);
    sse_reader_feed(&f->sse, bytes, len);
    if (f->sse.broken)
        fprintf(stderr, "stream: %s\n", f->sse.broken);
    MUST(!f->sse.broken);
    MUST(f->sse.stage != SSE_ENDED || f->saw_end);
}

void follow_end(struct follow *f)
{
    sse_reader_fini(&f->sse);
}

/* The position is in the log, or the first entry kept is its successor. */
static bool is_good(const struct truth_thread *t, struct event_id at)
{
    int first = 0;

    while (first < t->count && t->entries[first].gone)
        first++;
    if (event_id_zero(at) ||
        (first < t->count && event_id_follows(at, t->entries[first].id)))
        return true;
    for (int i = first; i < t->count; i++)
        if (!t->entries[i].gone && event_id_eq(t->entries[i].id, at))
            return true;
    return false;
}

void follow_check_all(const struct follow *f, bool positions)
{
    for (int i = 0; i < f->count; i++) {
        const struct follow_place *p = &f->places[i];
        const struct truth_thread *t = thread_at(f, i);
        int tail = truth_tail(t, f->run);
        struct event_id at = p->last >= 0 ? t->entries[p->last].id : p->at;
        MUST(p->how != FOLLOW_LOST);
        MUST(tail < 0 ||
             (p->how != FOLLOW_ANY && event_id_cmp(at, t->entries[tail].id) >= 0));
        MUST(!positions || f->run >= 0 || is_good(t, at));
    }
}
