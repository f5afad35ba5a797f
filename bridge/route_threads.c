/* route_threads: the caller's threads, and a new one. A chosen id is refused when
 * anything of it exists: else somebody could become the owner of events that others
 * published. */
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/forget.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/json.h"
#include "common/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUEST_PREFIX "guest:"

/* --- GET ---------------------------------------------------------------------------- */

static const char get_sql[] =
    "WITH page AS ("
    "  SELECT t.* FROM threadcast.threads t"
    "    LEFT JOIN threadcast.threads b ON b.id = $2::text AND b.owner = $1"
    "   WHERE t.owner = $1"
    "     AND ($2::text IS NULL OR t.updated_at < b.updated_at"
    "          OR (t.updated_at = b.updated_at AND t.id > b.id))"
    "   ORDER BY t.updated_at DESC, t.id LIMIT $3::int + 1),"
    " kept AS (SELECT * FROM page ORDER BY updated_at DESC, id LIMIT $3::int)"
    "SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object("
    "                 'id', id, 'metadata', metadata, 'createdAt', created_at,"
    "                 'updatedAt', updated_at) ORDER BY updated_at DESC, id), '[]')"
    "          FROM kept)::text,"
    "       CASE WHEN (SELECT count(*) FROM page) > $3::int"
    "            THEN (SELECT id FROM kept ORDER BY updated_at, id DESC LIMIT 1) END,"
    "       $2::text IS NULL"
    "         OR EXISTS (SELECT FROM threadcast.threads WHERE id = $2 AND owner = $1)";

static void on_page(struct request *r, const struct pg_result *res)
{
    const char *next = pg_value(res, 0, 1);
    struct buf out;

    if (!pg_bool(res, 0, 2)) {
        request_error(r, 400, "bad_before", "`before` is no thread of yours.");
        return;
    }
    buf_init(&out);
    buf_str(&out, "{\"threads\":");
    buf_add(&out, pg_value(res, 0, 0), pg_length(res, 0, 0));
    buf_str(&out, ",\"next\":");
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

void route_threads_get(struct request *r)
{
    char before[BEFORE_SIZE], limit_text[16];
    const char *params[] = {NULL, NULL, limit_text};
    int limit;

    if (!auth_require(r, false) || !ask_page(r, &limit, before))
        return;
    if (before[0] && !thread_id_valid(before, strlen(before))) {
        request_error(r, 400, "bad_before", "`before` is a thread's id.");
        return;
    }
    params[0] = r->identity->sub;
    params[1] = before[0] ? before : NULL;
    snprintf(limit_text, sizeof limit_text, "%d", limit);
    ask_pg(r, get_sql, 3, params, on_page);
}

/* --- POST --------------------------------------------------------------------------- */

static void body_free(void *body)
{
    json_decref(body);
}

/* NULL: the body is good. */
static const char *body_fault(const json_t *body)
{
    const json_t *id = json_object_get(body, "id");
    const json_t *metadata = json_object_get(body, "metadata");

    if (id && !json_is_string(id))
        return "`id` must be a string.";
    if (metadata && !json_is_object(metadata))
        return "`metadata` must be an object.";
    if (json_object_size(body) != (size_t)(id != NULL) + (metadata != NULL))
        return "Only `id` and `metadata` are known.";
    return NULL;
}

static void on_made(struct request *r, const struct pg_result *res)
{
    const json_t *body = r->state;
    json_t *metadata = json_object_get(body, "metadata");

    if (strcmp(pg_value(res, 0, 0), "ok") != 0) {
        ask_forbidden(r);
        return;
    }
    request_json(r, 201,
                 json_pack("{s:s, s:o, s:s}", "id", pg_value(res, 0, 1), "metadata",
                           metadata ? json_incref(metadata) : json_object(), "createdAt",
                           pg_value(res, 0, 2)));
}

static void make_thread(struct request *r)
{
    const json_t *body = r->state;
    const json_t *metadata = json_object_get(body, "metadata");
    char *text = metadata ? json_text(metadata, JSON_COMPACT) : NULL;
    const char *params[] = {json_string_value(json_object_get(body, "id")),
                            r->identity->sub, text};

    if (metadata && !text)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        ask_pg(r,
               "SELECT outcome, id, to_jsonb(created_at) #>> '{}' "
               "FROM threadcast.create_thread($1, $2, $3::jsonb)",
               3, params, on_made);
    free(text);
}

static void on_cursor(struct request *r, const struct thread_cursor *cursor)
{
    if (!cursor->ok)
        request_error(r, 503, "unavailable", "Redis does not answer, try again.");
    else if (cursor->exists)
        ask_forbidden(r);
    else
        make_thread(r);
}

/* The id is chosen: may it be? */
static void choose_id(struct request *r, const char *id, size_t len)
{
    if (!thread_id_valid(id, len))
        request_error(r, 400, "bad_thread_id",
                      "A thread's id is 1 to 128 of A-Z a-z 0-9 . _ -");
    else if (strncmp(r->identity->sub, GUEST_PREFIX, strlen(GUEST_PREFIX)) == 0)
        request_error(r, 403, "forbidden", "Guests cannot choose a thread's id.");
    else if (identity_writes(r->identity, id))
        make_thread(r);
    else
        ask_cursor(r, id, on_cursor);
}

void route_threads_post(struct request *r)
{
    const json_t *id;
    const char *fault;
    json_t *body;

    if (!auth_require(r, false))
        return;
    body = request_body_object(r);
    if (!body)
        return;
    r->state = body;
    r->state_free = body_free;
    fault = body_fault(body);
    id = json_object_get(body, "id");
    if (fault)
        request_error(r, 400, "bad_thread", fault);
    else if (id)
        choose_id(r, json_string_value(id), json_string_length(id));
    else
        make_thread(r);
}

/* --- DELETE ------------------------------------------------------------------------- */

static void on_deleted(struct request *r, const struct pg_result *res)
{
    if (strcmp(pg_value(res, 0, 0), "ok") == 0) {
        forget_thread(r->bridge, r->param);
        request_reply(r, 204, NULL, NULL, 0);
        return;
    }
    r->bridge->stats.access_denied++;
    ask_forbidden(r);
}

/* Rows and keys go here; that a thread is gone is notified, and whoever hears it closes
 * its streams. */
void route_thread_delete(struct request *r)
{
    const char *params[] = {r->param, NULL};

    if (!auth_require(r, false))
        return;
    params[1] = r->identity->sub;
    ask_pg(r, "SELECT threadcast.delete_thread($1, $2)", 2, params, on_deleted);
}
