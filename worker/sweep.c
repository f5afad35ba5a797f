/* sweep: Postgres is the record, so an end found here is published whatever Redis knows:
 * first as it was meant (its number), and when Redis has lost the run, as a whole:
 * rewind, the message's text, the end, in one call. */
#include "worker/sweep.h"

#include "common/clock.h"
#include "common/event.h"
#include "common/json.h"
#include "common/list.h"
#include "common/log.h"
#include "common/pg.h"
#include "worker/killpoint.h"
#include "worker/pending.h"
#include "worker/publisher.h"
#include "worker/store.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_BATCH = 32 };
#define STARTED "{\"status\":\"started\"}"
#define REWIND "{\"status\":\"rewind\"}"

struct sweep {
    struct worker *w;
    struct list ends;
    bool asking, more; /* the last batch was full */
};

/* One end on its way. */
struct loose_end {
    struct list node;
    struct sweep *s;
    char run_id[UUID_SIZE], reply_id[UUID_SIZE], agent_id[65];
    char thread_id[THREAD_ID_MAX + 1];
    struct event_run names;
    int64_t seq; /* 0: nothing of this attempt is published */
    char *content;
    json_t *events;
    struct publish_call *call;
};

static void end_free(struct loose_end *e)
{
    if (e->call)
        publish_cancel(e->call);
    list_remove(&e->node);
    json_decref(e->events);
    free(e->content);
    free(e);
}

/* EVENT_TOKEN: none that an end is made of. */
static enum event_type type_of(const json_t *ev)
{
    const char *type = json_string_value(json_object_get(ev, "type"));

    if (!type || !json_is_object(json_object_get(ev, "content")))
        return EVENT_TOKEN;
    if (strcmp(type, "status") == 0)
        return EVENT_STATUS;
    if (strcmp(type, "done") == 0)
        return EVENT_DONE;
    return strcmp(type, "error") == 0 ? EVENT_ERROR : EVENT_TOKEN;
}

/* The last is the end: without one a run would never be over for its readers. */
static bool is_readable(const json_t *events)
{
    size_t n = json_array_size(events);
    enum event_type last = n ? type_of(json_array_get(events, n - 1)) : EVENT_TOKEN;

    return last == EVENT_DONE || last == EVENT_ERROR;
}

static bool add_end_events(struct pending *p, const struct loose_end *e)
{
    size_t i;
    json_t *ev;

    json_array_foreach(e->events, i, ev)
    {
        enum event_type type = type_of(ev);
        int64_t ts = json_integer_value(json_object_get(ev, "ts"));
        char *content;
        if (type == EVENT_TOKEN)
            continue;
        content = json_text(json_object_get(ev, "content"), JSON_COMPACT);
        if (!content)
            return false;
        pending_json(p, type, content, strlen(content), ts);
        free(content);
    }
    return !p->failed;
}

static void on_answer(const struct publish_answer *a, void *arg);

/* whole: with a beginning and the text. */
static bool publish(struct loose_end *e, bool whole)
{
    const char *first = e->names.attempt > 1 || e->seq > 0 ? REWIND : STARTED;
    struct publish_order order = {.mode = whole ? PUBLISH_BEGIN_END : PUBLISH_END,
                                  .thread_id = e->thread_id,
                                  .run_id = e->run_id,
                                  .attempt = e->names.attempt,
                                  .number = e->seq > 0 ? e->seq : 1};
    struct publishers *ps = e->s->w->publishers;
    struct pending p;
    struct batch batch = {0};

    pending_init(&p);
    if (whole) {
        pending_json(&p, EVENT_STATUS, first, strlen(first), clock_wall_ms());
        if (e->content)
            pending_text(&p, e->content, strlen(e->content), clock_wall_ms());
    }
    if (add_end_events(&p, e) && pending_take(&p, &e->names, SIZE_MAX, &batch))
        e->call = publish_start(ps, publishers_lane(ps), &order, &batch, on_answer, e);
    KILL_POINT("sweep-sent");
    pending_clear(&p);
    batch_fini(&batch);
    return e->call != NULL;
}

static void on_marked(enum pg_outcome outcome, const struct pg_result *res,
                      const struct pg_error *err, void *arg)
{
    struct loose_end *e = arg;
    struct sweep *s = e->s;
    bool on = outcome == PG_OK && s->more;

    (void)res, (void)err; /* not marked: found again */
    KILL_POINT("sweep-marked");
    end_free(e);
    if (on && list_empty(&s->ends))
        sweep_start(s);
}

static void mark(struct loose_end *e)
{
    if (!store_mark(e->s->w, e->run_id, on_marked, e))
        end_free(e);
}

static void swept(struct loose_end *e)
{
    e->s->w->stats.ends_swept++;
    log_info("end published for another", LOG_S("run", e->run_id),
             LOG_S("thread", e->thread_id));
    mark(e);
}

/* Trying for ever would not help, and would hide the ends behind it: it is marked. */
static void give_up(struct loose_end *e, const char *why)
{
    e->s->w->stats.ends_lost++;
    log_error(why, LOG_S("run", e->run_id), LOG_S("thread", e->thread_id));
    mark(e);
}

static void on_answer(const struct publish_answer *a, void *arg)
{
    struct loose_end *e = arg;
    bool whole_before = e->seq == 0;

    KILL_POINT("sweep-answered");
    e->call = NULL;
    switch (a->result) {
    case PUBLISH_OK:
    case PUBLISH_ENDED:
        swept(e);
        break;
    case PUBLISH_LOST:
    case PUBLISH_GAP:
        if (whole_before || !publish(e, true))
            end_free(e); /* found again */
        break;
    case PUBLISH_FENCED:
    case PUBLISH_TAKEN:
    case PUBLISH_REFUSED:
        give_up(e, "an end cannot be published");
        break;
    }
}

static bool is_under_way(const struct sweep *s, const char *run)
{
    LIST_EACH(node, tmp, &s->ends)
        if (strcmp(LIST_ITEM(node, struct loose_end, node)->run_id, run) == 0)
            return true;
    return worker_run(s->w, run) != NULL;
}

enum filled { FILLED, UNREADABLE, NO_MEMORY };

static enum filled end_fill(struct loose_end *e, const struct pg_result *res, int row)
{
    const char *content = pg_value(res, row, END_CONTENT);
    const char *agent;
    const char *events = pg_value(res, row, END_EVENTS);
    enum json_trouble trouble;

    snprintf(e->run_id, sizeof(e->run_id), "%s", pg_value(res, row, END_RUN));
    snprintf(e->reply_id, sizeof(e->reply_id), "%s", pg_value(res, row, END_REPLY));
    snprintf(e->thread_id, sizeof(e->thread_id), "%s", pg_value(res, row, END_THREAD));
    e->seq = pg_int(res, row, END_SEQ);
    e->content = content ? strdup(content) : NULL;
    e->events =
        json_read(events, events ? strlen(events) : 0, JSON_REJECT_DUPLICATES, &trouble);
    if ((content && !e->content) || trouble == JSON_NO_MEMORY)
        return NO_MEMORY;
    agent = json_string_value(json_object_get(json_array_get(e->events, 0), "agentId"));
    snprintf(e->agent_id, sizeof(e->agent_id), "%s", agent ? agent : "default");
    e->names = (struct event_run){.thread_id = e->thread_id,
                                  .run_id = e->run_id,
                                  .agent_id = e->agent_id,
                                  .message_id = e->reply_id,
                                  .attempt = pg_int(res, row, END_ATTEMPT)};
    return is_readable(e->events) ? FILLED : UNREADABLE;
}

static void take(struct sweep *s, const struct pg_result *res, int row)
{
    struct loose_end *e;
    enum filled filled;

    if (is_under_way(s, pg_value(res, row, END_RUN)))
        return;
    e = calloc(1, sizeof(*e));
    if (!e)
        return;
    KILL_POINT("sweep-found");
    e->s = s;
    list_init(&e->node);
    list_push(&s->ends, &e->node);
    filled = end_fill(e, res, row);
    if (filled == UNREADABLE)
        give_up(e, "an end cannot be read");
    else if (filled == NO_MEMORY || !publish(e, e->seq == 0))
        end_free(e); /* found again */
}

static void on_ends(enum pg_outcome outcome, const struct pg_result *res,
                    const struct pg_error *err, void *arg)
{
    struct sweep *s = arg;

    (void)err;
    s->asking = false;
    if (outcome != PG_OK)
        return;
    s->more = pg_rows(res) == SWEEP_BATCH;
    for (int i = 0; i < pg_rows(res); i++)
        take(s, res, i);
}

struct sweep *sweep_new(struct worker *w)
{
    struct sweep *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->w = w;
    list_init(&s->ends);
    return s;
}

void sweep_free(struct sweep *s)
{
    if (!s)
        return;
    LIST_EACH(node, tmp, &s->ends)
        end_free(LIST_ITEM(node, struct loose_end, node));
    free(s);
}

void sweep_start(struct sweep *s)
{
    if (s->asking || !publishers_ready(s->w->publishers))
        return;
    s->asking = store_ends(s->w, SWEEP_BATCH, on_ends, s);
}
