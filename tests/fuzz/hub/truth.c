/* truth: see truth.h. The content of an event is its number in the thread, so that a
 * lost, repeated or foreign one is recognised wherever it turns up. */
#include "truth.h"

#include "../fuzz.h"

struct truth truth;

void truth_init(void)
{
    static const char *const names[TRUTH_THREADS] = {"t1", "t2", "other-3"};

    truth.step = 0;
    truth.worker_alive = true;
    for (int i = 0; i < TRUTH_THREADS; i++) {
        struct truth_thread *t = &truth.threads[i];
        t->name = names[i];
        t->count = t->runs = t->ended_count = 0;
        t->last = (struct event_id){(uint64_t)(17 + 100 * i), 0};
        for (int n = 0; n < TRUTH_LIVE; n++)
            t->live[n].run = -1;
        t->live_step = 0;
        t->fresh_epoch = false;
    }
}

void truth_run_id(int run, char out[UUID_SIZE])
{
    snprintf(out, UUID_SIZE, "00000000-0000-4000-8000-%012d", run);
}

int truth_tail(const struct truth_thread *t, int run)
{
    int i = t->count - 1;

    while (i >= 0 && (t->entries[i].gone || (run >= 0 && t->entries[i].run != run)))
        i--;
    return i;
}

/* Whoever follows a run alone may have got its last event before that was trimmed. */
static int run_tail(const struct truth_thread *t, int run)
{
    int i = t->count - 1;

    while (i >= 0 && ((t->entries[i].gone && !t->entries[i].trimmed) || run < 0 ||
                      t->entries[i].run != run))
        i--;
    return i;
}

static void set_live(struct truth_run *live, struct truth_thread *t, int run)
{
    *live = (struct truth_run){.run = run, .began = t->last};
    t->live_step = truth.step;
}

static void end_run(struct truth_thread *t, struct truth_run *live)
{
    if (t->ended_count == TRUTH_ENDED)
        memmove(t->ended, t->ended + 1, sizeof(t->ended[0]) * (size_t)--t->ended_count);
    live->ended = t->last;
    t->ended[t->ended_count++] = *live;
    set_live(live, t, -1);
}

bool truth_began(const struct truth_thread *t, struct event_id *ret_began)
{
    bool any = false;

    for (int i = 0; i < TRUTH_LIVE; i++) {
        const struct truth_run *r = &t->live[i];
        if (r->run >= 0 && (!any || event_id_cmp(r->began, *ret_began) < 0))
            *ret_began = r->began;
        any |= r->run >= 0;
    }
    return any;
}

int truth_append(struct truth_thread *t, enum truth_kind kind, int live, uint8_t padding)
{
    struct truth_entry *e = &t->entries[t->count];
    struct truth_run *run = &t->live[live];

    if (t->count == TRUTH_ENTRIES)
        return -1;
    if ((kind == TRUTH_STARTED && run->run >= 0) || (kind == TRUTH_DONE && run->run < 0))
        kind = TRUTH_TOKEN;
    if (t->fresh_epoch)
        t->last = (struct event_id){t->last.epoch + 1, 0};
    t->fresh_epoch = false;
    t->last.n++;
    if (kind == TRUTH_STARTED)
        set_live(run, t, t->runs++);
    *e = (struct truth_entry){.id = t->last,
                              .kind = kind,
                              .run = run->run,
                              .before = truth_tail(t, -1),
                              .run_before = run_tail(t, run->run),
                              .step = truth.step,
                              .padding = padding};
    if (kind == TRUTH_DONE)
        end_run(t, run);
    return t->count++;
}

void truth_trim(struct truth_thread *t, int count)
{
    int tail = truth_tail(t, -1);

    for (int i = 0; i < tail && count > 0; i++)
        if (!t->entries[i].gone) {
            t->entries[i].gone = t->entries[i].trimmed = true;
            count--;
        }
}

/* Was it written by the Redis that is still there? */
static bool kept(const struct truth_thread *t, struct event_id id)
{
    int tail = truth_tail(t, -1);

    return tail >= 0 && event_id_cmp(id, t->entries[tail].id) <= 0;
}

void truth_lose(struct truth_thread *t, int count, bool all)
{
    for (int i = t->count - 1; i >= 0 && (all || count > 0); i--)
        if (!t->entries[i].gone) {
            t->entries[i].gone = true;
            count--;
        }
    t->fresh_epoch = true;
    for (int i = 0; i < TRUTH_LIVE; i++)
        if (t->live[i].run >= 0 && (all || !kept(t, t->live[i].began)))
            set_live(&t->live[i], t, -1);
    while (t->ended_count && (all || !kept(t, t->ended[t->ended_count - 1].ended)))
        t->ended_count--;
}

/* --- the events' bytes ----------------------------------------------------------------
 */

static void add_text(const struct truth_thread *t, int i, struct buf *out)
{
    buf_printf(out, "%d.", i);
    for (int n = 0; n < t->entries[i].padding; n++)
        buf_str(out, "~~~~");
}

void truth_json(const struct truth_thread *t, const int *entries, int count,
                struct buf *out)
{
    static const char *const types[] = {"token", "delta", "status", "done"};
    const struct truth_entry *e = &t->entries[entries[count - 1]];
    bool token = e->kind == TRUTH_TOKEN;
    char id[EVENT_ID_SIZE], run[UUID_SIZE];

    event_id_format(&e->id, id);
    buf_printf(out, "{\"id\":\"%s\",\"type\":\"%s\",\"threadId\":\"%s\",\"content\":%s\"",
               id, types[e->kind], t->name, token ? "" : "{\"text\":");
    for (int i = 0; i < count; i++)
        add_text(t, entries[i], out);
    buf_printf(out, "\"%s,\"ts\":%d", token ? "" : "}", 1000 + entries[count - 1]);
    if (e->run >= 0) {
        truth_run_id(e->run, run);
        buf_printf(out, ",\"runId\":\"%s\",\"attempt\":1", run);
    }
    buf_char(out, '}');
}

static int thread_of(const char *json)
{
    const char *at = strstr(json, "\"threadId\":\"");

    for (int i = 0; at && i < TRUTH_THREADS; i++) {
        size_t len = strlen(truth.threads[i].name);
        if (strncmp(at + 12, truth.threads[i].name, len) == 0 && at[12 + len] == '"')
            return i;
    }
    return -1;
}

bool truth_read(const char *json, int *ret_thread, int *ret_entries, int max,
                int *ret_count)
{
    const char *at = strstr(json, "\"content\":");
    int count = 0;

    *ret_thread = thread_of(json);
    if (!at || *ret_thread < 0)
        return false;
    at += strcspn(at + 10, "0123456789") + 10;
    while (*at >= '0' && *at <= '9' && count < max) {
        char *end;
        ret_entries[count++] = (int)strtol(at, &end, 10);
        if (*end != '.')
            return false;
        at = end + 1 + strspn(end + 1, "~");
    }
    *ret_count = count;
    return count > 0 && *at == '"';
}
