/* legacy_access: Postgres (our row, else a row of theirs in the view `older_runs`) ─▶
 * Redis (what the run's entries say) ─▶ the grants, its owner, or the thread's. What
 * neither clearly said is never a yes. */
#include "bridge/legacy_access.h"

#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/legacy_page.h"
#include "bridge/request.h"
#include "common/log.h"
#include "common/pg.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AT = 8 }; /* of a run's entries: the first ones may name no thread */

struct search {
    struct request *r; /* a reference */
    enum access_kind kind;
    legacy_found_fn *fn;
    bool owner; /* theirs say so */
    struct legacy_found found;
};

static bool covers(char *const *list, const char *run_id)
{
    static const char word[] = "agent_run:";
    size_t skip = sizeof(word) - 1;

    for (size_t i = 0; list && list[i]; i++) {
        const char *grant = list[i];
        size_t len = strlen(grant);
        if (strcmp(grant, "*") == 0)
            return true;
        if (len <= skip || strncmp(grant, word, skip) != 0)
            continue; /* threads: one whose name begins alike says nothing of runs */
        if (grant[len - 1] == '*' ? !strncmp(grant + skip, run_id, len - skip - 1)
                                  : !strcmp(grant + skip, run_id))
            return true;
    }
    return false;
}

bool legacy_granted(const struct identity *id, const char *run_id, enum access_kind kind)
{
    if (id->everything)
        return true;
    if (kind == ACCESS_READ)
        return covers(id->read, run_id);
    return !id->ticket && covers(id->write, run_id);
}

static void search_free(struct search *q)
{
    request_unref(q->r);
    free(q);
}

static void refuse(struct search *q, bool unknown)
{
    if (unknown)
        request_error(q->r, 503, "unavailable",
                      "An upstream does not answer, try again.");
    else
        ask_forbidden(q->r);
    search_free(q);
}

static void give(struct search *q)
{
    q->fn(q->r, &q->found);
    search_free(q);
}

static void on_access(enum access_result result, void *arg)
{
    struct search *q = arg;

    switch (result) {
    case ACCESS_GRANTED:
    case ACCESS_OWNER:
        q->found.by_owner = result == ACCESS_OWNER;
        q->found.thread_granted = true;
        give(q);
        break;
    case ACCESS_DENIED:
    case ACCESS_UNKNOWN:
        refuse(q, result == ACCESS_UNKNOWN);
        break;
    }
}

/* Everything that can be known is known. */
static void judge(struct search *q)
{
    struct bridge *b = q->r->bridge;
    const char *thread = q->found.thread_id;

    q->found.owner_changes = b->owner_changes;
    if (legacy_granted(q->r->identity, q->r->param, q->kind)) {
        q->found.thread_granted = thread[0] && identity_reads(q->r->identity, thread);
        give(q);
    } else if (q->owner) {
        q->found.thread_granted = thread[0] != '\0';
        give(q);
    } else if (thread[0]) {
        access_check(b, q->r->identity, thread, q->kind, on_access, q);
    } else {
        b->stats.access_denied++;
        refuse(q, false);
    }
}

/* --- what Redis says ---------------------------------------------------------------- */

static void read_thread(struct search *q, const struct legacy_page *page)
{
    struct legacy_entry entry;

    for (size_t i = 0; i < page->count && !q->found.thread_id[0]; i++) {
        struct span place, json = legacy_page_entry(page, i, &place);
        if (json.at && legacy_entry_read(json.at, json.len, page->family, &entry) &&
            entry.thread.at && thread_id_valid(entry.thread.at, entry.thread.len))
            snprintf(q->found.thread_id, sizeof(q->found.thread_id), "%.*s",
                     (int)entry.thread.len, entry.thread.at);
    }
}

/* How it stands: what its last entry says; else, like their worker leaves a run that has
 * ended, a list with a lifetime and no lock. */
static enum legacy_end state_of(const struct legacy_page *page)
{
    struct legacy_entry entry = {.end = LEGACY_RUNNING};
    bool list = page->family == LEGACY_CLASSIC || page->family == LEGACY_NEWER;

    if (page->tail.len &&
        legacy_entry_read(page->tail.at, page->tail.len, page->family, &entry) &&
        entry.end != LEGACY_RUNNING)
        return entry.end;
    if (page->stopping)
        return LEGACY_STOPPED;
    if (list && !page->locked && page->ttl_s >= 0)
        return entry.error ? LEGACY_FAILED : LEGACY_COMPLETED;
    return LEGACY_RUNNING;
}

static void on_page(const struct legacy_page *page, void *arg)
{
    struct search *q = arg;

    if (!page) {
        refuse(q, true);
        return;
    }
    read_thread(q, page);
    q->found.end = state_of(page);
    judge(q);
}

static void ask_redis(struct search *q)
{
    static const struct legacy_place beginning = {.family = LEGACY_UNKNOWN};

    if (!legacy_page_read(q->r->bridge, q->r->param, &beginning, LOOK_AT, true, on_page,
                          q))
        refuse(q, true);
}

/* --- what Postgres says ------------------------------------------------------------- */

static enum legacy_end end_of(const char *status)
{
    static const struct {
        const char *word;
        enum legacy_end end;
    } words[] = {
        {"done", LEGACY_COMPLETED},    {"completed", LEGACY_COMPLETED},
        {"failed", LEGACY_FAILED},     {"error", LEGACY_FAILED},
        {"cancelled", LEGACY_STOPPED}, {"stopped", LEGACY_STOPPED},
    };

    for (size_t i = 0; status && i < sizeof(words) / sizeof(*words); i++)
        if (strcmp(status, words[i].word) == 0)
            return words[i].end;
    return LEGACY_RUNNING;
}

static void copy(char *out, size_t size, const char *value)
{
    snprintf(out, size, "%s", value ? value : "");
}

/* columns: thread_id, is the owner, status */
static void on_view(enum pg_outcome outcome, const struct pg_result *res,
                    const struct pg_error *err, void *arg)
{
    struct search *q = arg;
    struct legacy_found *f = &q->found;
    /* an id that is none of its kind is in no row */
    bool none = outcome == PG_OK
                    ? pg_rows(res) == 0
                    : outcome == PG_FAILED && !strncmp(err->sqlstate, "22", 2);

    if (none) {
        ask_redis(q);
        return;
    }
    if (outcome != PG_OK) {
        q->r->bridge->stats.pg_errors++;
        log_warn("older_runs cannot be asked",
                 LOG_S("why", err ? err->message : "no connection"));
        refuse(q, true);
        return;
    }
    const char *thread = pg_value(res, 0, 0);
    if (thread && thread_id_valid(thread, strlen(thread)))
        copy(f->thread_id, sizeof(f->thread_id), thread);
    q->owner = pg_value(res, 0, 1) && pg_bool(res, 0, 1);
    f->end = end_of(pg_value(res, 0, 2));
    f->told = true;
    judge(q);
}

static void ask_view(struct search *q)
{
    struct bridge *b = q->r->bridge;
    const char *params[] = {q->r->param, q->r->identity->sub};

    if (q->r->identity->ticket) /* names threads; what its subject owns is not in it */
        params[1] = NULL;
    if (!pg_pool_query(b->pg,
                       "SELECT thread_id::text, owner::text = $2, status::text"
                       " FROM threadcast.older_runs WHERE id = $1",
                       2, params, b->conf->upstream_timeout_ms, on_view, q))
        refuse(q, true);
}

/* columns: thread_id, ended, status, started_at, ended_at, error's message, is there a
 * view of theirs? */
static void on_row(enum pg_outcome outcome, const struct pg_result *res,
                   const struct pg_error *err, void *arg)
{
    (void)err;
    struct search *q = arg;
    struct legacy_found *f = &q->found;

    if (outcome != PG_OK || pg_rows(res) != 1) {
        q->r->bridge->stats.pg_down++;
        refuse(q, true);
    } else if (pg_value(res, 0, 0)) {
        f->ours = true;
        for (char *c = q->r->param; *c; c++)
            *c = (char)tolower((unsigned char)*c); /* as its events name it */
        copy(f->thread_id, sizeof(f->thread_id), pg_value(res, 0, 0));
        f->ended = pg_bool(res, 0, 1);
        f->end = end_of(pg_value(res, 0, 2));
        copy(f->started, sizeof(f->started), pg_value(res, 0, 3));
        copy(f->completed, sizeof(f->completed), pg_value(res, 0, 4));
        copy(f->error, sizeof(f->error), pg_value(res, 0, 5));
        judge(q);
    } else if (pg_bool(res, 0, 6)) {
        ask_view(q);
    } else {
        ask_redis(q);
    }
}

static void ask_postgres(struct search *q)
{
    static const char sql[] =
        "SELECT r.thread_id, r.end_events IS NOT NULL, r.status,"
        " to_json(r.started_at) #>> '{}', to_json(r.ended_at) #>> '{}',"
        " left(r.error ->> 'message', 60), to_regclass(format('%I.older_runs', "
        "$2::text)) IS NOT NULL"
        " FROM (SELECT 1) one LEFT JOIN threadcast.runs r ON r.id = $1::uuid";
    struct bridge *b = q->r->bridge;
    const char *id = q->r->param;
    const char *params[] = {uuid_valid(id, strlen(id)) ? id : NULL,
                            b->conf->database_schema};

    if (!pg_pool_query(b->pg, sql, 2, params, b->conf->upstream_timeout_ms, on_row, q))
        refuse(q, true);
}

void legacy_find(struct request *r, enum access_kind kind, legacy_found_fn *fn)
{
    struct search *q = calloc(1, sizeof(*q));

    if (!q) {
        request_error(r, 503, "unavailable", "Out of memory, try again.");
        return;
    }
    q->r = request_ref(r);
    q->kind = kind;
    q->fn = fn;
    if (r->bridge->pg)
        ask_postgres(q);
    else
        ask_redis(q);
}
