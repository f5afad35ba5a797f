/* route_messages: what was said in a thread, and saying something. The cursor is read
 * from Redis before Postgres is asked, in both: whatever happens between the two is then
 * behind the cursor, and history plus stream shows everything once. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/json.h"
#include "common/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES "4194304" /* of contents in one answer; one message always fits */

/* What waits in r->state. */
struct messages {
    char cursor[EVENT_ID_SIZE];
    /* GET */
    int limit;
    char before[BEFORE_SIZE];
    /* POST */
    json_t *body;
    char key[KEY_MAX + 1];
    char hash[HASH_SIZE];
};

static void messages_free(void *arg)
{
    struct messages *m = arg;

    json_decref(m->body);
    free(m);
}

static struct messages *messages_new(struct request *r)
{
    struct messages *m = calloc(1, sizeof *m);

    if (!m) {
        request_error(r, 503, "unavailable", "Out of memory, try again.");
        return NULL;
    }
    r->state = m;
    r->state_free = messages_free;
    return m;
}

/* --- GET ---------------------------------------------------------------------------- */

static const char get_sql[] =
    "WITH page AS ("
    "  SELECT m.*, r.status, r.error"
    "    FROM threadcast.messages m LEFT JOIN threadcast.runs r ON r.id = m.run_id"
    "   WHERE m.thread_id = $1"
    "     AND ($2::uuid IS NULL OR m.seq < (SELECT seq FROM threadcast.messages"
    "                                        WHERE id = $2::uuid AND thread_id = $1))"
    "   ORDER BY m.seq DESC LIMIT $3::int + 1),"
    " counted AS ("
    "  SELECT *, row_number() OVER newest AS nth,"
    "         sum(octet_length(content)) OVER newest AS bytes"
    "    FROM page WINDOW newest AS (ORDER BY seq DESC)),"
    " kept AS ("
    "  SELECT * FROM counted"
    "   WHERE nth <= $3::int AND (nth = 1 OR bytes <= " PAGE_BYTES "))"
    "SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object("
    "                 'id', id, 'seq', seq, 'role', role, 'content', content,"
    "                 'author', author, 'replyTo', reply_to, 'runId', run_id,"
    "                 'metadata', metadata, 'createdAt', created_at)"
    "               || CASE WHEN role = 'assistant' AND status IN ('failed', 'cancelled')"
    "                       THEN jsonb_build_object('status', status, 'error', error)"
    "                       ELSE '{}' END ORDER BY seq), '[]') FROM kept)::text,"
    "       CASE WHEN (SELECT count(*) FROM page) > (SELECT count(*) FROM kept)"
    "            THEN (SELECT id::text FROM kept ORDER BY seq LIMIT 1) END,"
    "       $2::uuid IS NULL"
    "         OR EXISTS (SELECT FROM threadcast.messages WHERE id = $2::uuid AND "
    "thread_id = $1)";

static void on_page(struct request *r, const struct pg_result *res)
{
    const struct messages *m = r->state;
    const char *next = pg_value(res, 0, 1);
    struct buf out;

    if (!pg_bool(res, 0, 2)) {
        request_error(r, 400, "bad_before", "`before` is no message of this thread.");
        return;
    }
    buf_init(&out);
    buf_str(&out, "{\"messages\":");
    buf_add(&out, pg_value(res, 0, 0), pg_length(res, 0, 0));
    buf_printf(&out, ",\"cursor\":\"%s\",\"next\":", m->cursor);
    if (next)
        buf_json(&out, next, strlen(next));
    else
        buf_str(&out, "null");
    buf_char(&out, '}');
    if (out.failed)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        request_text(r, 200, out.data, out.len);
    buf_fini(&out);
}

static void on_get_cursor(struct request *r, const struct thread_cursor *cursor)
{
    struct messages *m = r->state;
    char limit[16];
    const char *params[] = {r->param, m->before[0] ? m->before : NULL, limit};

    cursor_text(cursor, m->cursor);
    snprintf(limit, sizeof limit, "%d", m->limit);
    ask_pg(r, get_sql, 3, params, on_page);
}

static void on_may_read(struct request *r)
{
    ask_cursor(r, r->param, on_get_cursor);
}

void route_messages_get(struct request *r)
{
    struct messages *m;

    if (!auth_require(r, false))
        return;
    m = messages_new(r);
    if (!m || !ask_page(r, &m->limit, m->before))
        return;
    if (m->before[0] && !uuid_valid(m->before, strlen(m->before))) {
        request_error(r, 400, "bad_before", "`before` is a message's id.");
        return;
    }
    ask_access(r, ACCESS_READ, on_may_read);
}

/* --- POST --------------------------------------------------------------------------- */

/* A JSON string that is a word, or not there. */
static bool word_or_none(const json_t *value)
{
    return !value || (json_is_string(value) &&
                      word_valid(json_string_value(value), json_string_length(value)));
}

/* What a message does to a thread whose run is going. */
static bool is_mode(const char *mode)
{
    static const char *const modes[] = {"queue", "parallel", "interrupt", "reject"};

    for (size_t i = 0; mode && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(mode, modes[i]) == 0)
            return true;
    return false;
}

/* As in db/0005_agents.sql (message_agents). */
enum { MESSAGE_AGENTS_MAX = 8 };

static bool is_agents(const json_t *agents)
{
    size_t n = json_array_size(agents);

    if (n == 0 || n > MESSAGE_AGENTS_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(agents, i);
        if (!json_is_string(name) || !word_or_none(name))
            return false;
        for (size_t k = 0; k < i; k++)
            if (json_equal(name, json_array_get(agents, k)))
                return false;
    }
    return true;
}

/* Who shall answer: at most one of the four places says so, and says it well. */
static const char *agents_fault(const json_t *body, const json_t *metadata)
{
    const json_t *one = json_object_get(body, "agent");
    const json_t *several = json_object_get(body, "agents");
    const json_t *meta_one = json_object_get(metadata, "agent");
    const json_t *meta_several = json_object_get(metadata, "agents");

    if (!word_or_none(one))
        return "`agent` must be 1 to 64 of A-Z a-z 0-9 . _ : -";
    if (!word_or_none(meta_one))
        return "`metadata.agent` must be 1 to 64 of A-Z a-z 0-9 . _ : -";
    if ((several && !is_agents(several)) || (meta_several && !is_agents(meta_several)))
        return "`agents` must be 1 to 8 different names of A-Z a-z 0-9 . _ : -";
    if ((several || meta_several) && (one || meta_one || (several && meta_several)))
        return "Only one of `agent` and `agents` can be given, once.";
    return NULL;
}

/* NULL: the body is good. */
static const char *body_fault(const json_t *body)
{
    const json_t *content = json_object_get(body, "content");
    const json_t *metadata = json_object_get(body, "metadata");
    const json_t *mode = json_object_get(body, "mode");
    size_t known = 1 + (metadata != NULL) + (mode != NULL) +
                   (json_object_get(body, "agent") != NULL) +
                   (json_object_get(body, "agents") != NULL);

    if (!json_is_string(content) || json_string_length(content) == 0)
        return "`content` must be a text that is not empty.";
    if (mode && !is_mode(json_string_value(mode)))
        return "`mode` must be queue, parallel, interrupt or reject.";
    if (metadata && !json_is_object(metadata))
        return "`metadata` must be an object.";
    if (json_object_size(body) != known)
        return "Only `content`, `agent`, `agents`, `mode` and `metadata` are known.";
    return agents_fault(body, metadata);
}

static void on_posted(struct request *r, const struct pg_result *res)
{
    const char *outcome = pg_value(res, 0, 0);
    const char *answer = pg_value(res, 0, 1);

    if (strcmp(outcome, "forbidden") == 0)
        ask_forbidden(r);
    else if (strcmp(outcome, "conflict") == 0)
        request_error(r, 409, "idempotency_conflict",
                      "This Idempotency-Key was used with another body.");
    else if (strcmp(outcome, "rejected") == 0)
        request_error(r, 409, "run_in_progress", "A run of this thread is going.");
    else if (answer)
        request_text(r, 202, answer, strlen(answer));
    else
        request_error(r, 500, "internal", "The answer that was kept is empty.");
}

/* The message's metadata with what its run will be found by: the run's first event, its
 * agent and the worker's log carry it. A `trace` of the application's own is left. And
 * with the agents that are to answer: there is one run for each of them. */
static char *metadata_text_of(const struct request *r)
{
    const struct messages *m = r->state;
    json_t *given = json_object_get(m->body, "metadata");
    json_t *agents = json_object_get(m->body, "agents");
    json_t *all = given ? json_copy(given) : json_object();
    const char *parent = r->trace.parent[0] ? r->trace.parent : NULL;
    bool ok =
        all && (!agents || json_object_set(all, "agents", agents) == 0) &&
        (json_object_get(all, "trace") ||
         json_object_set_new(all, "trace",
                             json_pack("{s:s, s:s*}", "requestId", r->trace.request_id,
                                       "traceparent", parent)) == 0);
    char *text = ok ? json_text(all, JSON_COMPACT) : NULL;

    json_decref(all);
    return text;
}

static void on_post_cursor(struct request *r, const struct thread_cursor *cursor)
{
    struct messages *m = r->state;
    char *metadata_text = metadata_text_of(r);
    const char *params[] = {
        r->param,
        r->identity->sub,
        json_string_value(json_object_get(m->body, "content")),
        json_string_value(json_object_get(m->body, "agent")),
        metadata_text,
        m->cursor,
        m->key[0] ? m->key : NULL,
        m->key[0] ? m->hash : NULL,
        json_string_value(json_object_get(m->body, "mode")),
    };

    cursor_text(cursor, m->cursor);
    if (!metadata_text)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        ask_pg(r,
               "SELECT outcome, answer::text FROM threadcast.post_message($1, $2, $3, "
               "$4, $5::jsonb, "
               "$6, $7, $8, $9)",
               9, params, on_posted);
    free(metadata_text);
}

void route_messages_post(struct request *r)
{
    struct messages *m;
    const char *fault;

    if (!auth_require(r, false))
        return;
    m = messages_new(r);
    if (!m || ask_key(r, m->key) < 0)
        return;
    m->body = request_body_object(r);
    if (!m->body)
        return;
    fault = body_fault(m->body);
    if (fault) {
        request_error(r, 400, "bad_message", fault);
        return;
    }
    if (!hash_hex(r->body, r->body_len, "", 0, m->hash)) {
        request_error(r, 500, "internal", "The body could not be hashed.");
        return;
    }
    ask_cursor(r, r->param, on_post_cursor);
}
