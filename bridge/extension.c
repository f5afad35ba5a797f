/* extension: who asked, as signed text, because neither an identity nor trust crosses
 * from one thread or process to another by itself.
 *
 *   POST /v1/session/extend ─▶ extension_make ─┬─▶ every reactor ─▶ its stream? access?
 *                                              │                    ─▶ renew_take
 *                                              └─▶ Redis ─▶ the other bridges' number 0
 */
#include "bridge/extension.h"

#include "bridge/access.h"
#include "bridge/auth.h"
#include "bridge/base64url.h"
#include "bridge/bridge.h"
#include "bridge/claims.h"
#include "bridge/clients.h"
#include "bridge/feed.h"
#include "bridge/hub.h"
#include "bridge/keys.h"
#include "bridge/legacy.h"
#include "bridge/legacy_access.h"
#include "bridge/legacy_stream.h"
#include "bridge/publisher.h"
#include "bridge/revoked.h"
#include "bridge/round.h"
#include "common/clock.h"
#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX "0123456789abcdef"
#define INSTANCE_LEN (INSTANCE_SIZE - 1)
enum { SECRET_DIGITS = 32 };

/* --- the text ------------------------------------------------------------------------
 */

static json_t *list(char *const *grants)
{
    json_t *array = json_array();

    for (size_t i = 0; grants && grants[i]; i++)
        json_array_append_new(array, json_string(grants[i]));
    return array;
}

bool extension_make(const struct auth *a, const char *connection,
                    const struct identity *id, struct buf *out)
{
    json_t *claims =
        json_pack("{s:s, s:s, s:s*, s:I, s:I, s:I, s:o}", "connection", connection, "sub",
                  id->sub, "jti", id->jti, "exp", (json_int_t)id->expires_ms, "life",
                  (json_int_t)id->life_ms, "from", (json_int_t)id->issued_ms, "read",
                  list(id->read));
    char *json = claims ? json_text(claims, JSON_COMPACT) : NULL;
    size_t start = out->len;

    json_decref(claims);
    if (!json)
        return false;
    base64url_encode(out, json, strlen(json));
    free(json);
    size_t end = out->len;
    buf_char(out, '.');
    return !out->failed && auth_sign(a, out->data + start, end - start, out) &&
           out->len - start <= EXTENSION_MAX;
}

/* Of a payload that is ours. Returns new, or NULL. */
static struct identity *read_claims(const json_t *claims, int64_t now_ms)
{
    const json_t *sub = json_object_get(claims, "sub");
    int64_t exp = json_integer_value(json_object_get(claims, "exp"));
    struct identity *id = NULL;

    if (exp > now_ms)
        id = identity_new(json_string_value(sub), json_string_length(sub), exp,
                          json_integer_value(json_object_get(claims, "life")));
    if (!id)
        return NULL;
    id->issued_ms = json_integer_value(json_object_get(claims, "from"));
    if (identity_name(json_object_get(claims, "jti"), &id->jti) &&
        grants_parse(json_object_get(claims, "read"), true, &id->read))
        return id;
    identity_unref(id);
    return NULL;
}

bool extension_read(const struct auth *a, const char *text, size_t len, int64_t now_ms,
                    char ret_connection[CONNECTION_SIZE], struct identity **ret)
{
    unsigned char mac[KEY_MAC_SIZE];
    char payload[EXTENSION_MAX];
    size_t payload_len, mac_len;
    const char *dot = len <= EXTENSION_MAX ? memchr(text, '.', len) : NULL;

    if (!dot ||
        !base64url_decode(dot + 1, (size_t)(text + len - dot - 1), mac, sizeof(mac),
                          &mac_len) ||
        !auth_signed(a, text, (size_t)(dot - text), mac, mac_len) ||
        !base64url_decode(text, (size_t)(dot - text), payload, sizeof(payload),
                          &payload_len))
        return false;
    json_t *claims = claims_object(payload, payload_len);
    const json_t *name = json_object_get(claims, "connection");
    struct identity *id = NULL;
    if (connection_valid(json_string_value(name), json_string_length(name)))
        id = read_claims(claims, now_ms);
    if (id)
        snprintf(ret_connection, CONNECTION_SIZE, "%s", json_string_value(name));
    json_decref(claims);
    *ret = id;
    return id;
}

bool connection_valid(const char *text, size_t len)
{
    if (!text || len >= CONNECTION_SIZE || strspn(text, HEX) != INSTANCE_LEN ||
        text[INSTANCE_LEN] != '-')
        return false;
    const char *at = text + INSTANCE_LEN + 1;
    size_t digits = strspn(at, "0123456789");
    if (digits < 1 || digits > 2 || at[digits] != '.')
        return false;
    at += digits + 1;
    return strspn(at, HEX) == SECRET_DIGITS && at + SECRET_DIGITS == text + len;
}

bool connection_here(const struct bridge *b, const char *connection)
{
    return strncmp(connection, b->instance, INSTANCE_LEN + 1) == 0;
}

/* --- one reactor ----------------------------------------------------------------------
 */

struct question {
    size_t len;
    char text[EXTENSION_MAX + 1];
};

/* While the threads of the stream are asked about. */
struct wish {
    struct round_part *part;
    struct client *client; /* counted as pending */
    struct identity *identity;
    uint64_t owner_changes;
    size_t waiting;
    bool denied, unknown;
    struct thread_wish {
        struct wish *wish;
        bool by_owner;
    } threads[];
};

static void answer(struct round_part *part, enum extend_outcome outcome, int64_t until_ms)
{
    *(struct extend_answer *)part->answer = (struct extend_answer){outcome, until_ms};
    round_answer(part);
}

/* Everything may have changed while Postgres was asked. */
static enum extend_outcome decide(const struct wish *w)
{
    const struct client *c = w->client;
    struct revoked *revoked = w->part->bridge->revoked;

    if (c->closed || c->ending)
        return EXTEND_NONE;
    if (w->denied || (revoked && revoked_covers(revoked, w->identity)))
        return EXTEND_DENIED;
    return w->unknown ? EXTEND_UNKNOWN : EXTEND_DONE;
}

static void wish_end(struct wish *w)
{
    struct client *c = w->client;
    enum extend_outcome outcome = decide(w);

    c->pending--;
    if (outcome == EXTEND_DONE) {
        for (size_t i = 0; i < c->count; i++)
            c->subs[i].by_owner = w->threads[i].by_owner;
        c->recheck |= w->owner_changes != w->part->bridge->owner_changes;
        renew_take(c, w->identity);
    }
    answer(w->part, outcome, w->identity->expires_ms);
    identity_unref(w->identity);
    free(w);
}

static void on_access(enum access_result result, void *arg)
{
    struct thread_wish *t = arg;
    struct wish *w = t->wish;

    t->by_owner = result == ACCESS_OWNER;
    w->denied |= result == ACCESS_DENIED;
    w->unknown |= result == ACCESS_UNKNOWN;
    if (--w->waiting == 0)
        wish_end(w);
}

/* An older run's stream that was let in by a grant that names the run, whatever its
 * thread. */
static bool of_run_alone(const struct client *c)
{
    return c->older && !c->older->thread_granted;
}

/* Takes id. */
static void ask_threads(struct round_part *part, struct client *c, struct identity *id)
{
    struct bridge *b = part->bridge;
    size_t count = c->count;
    struct wish *w = calloc(1, sizeof(*w) + count * sizeof(w->threads[0]));

    if (!w) {
        identity_unref(id);
        answer(part, EXTEND_UNKNOWN, 0);
        return;
    }
    *w = (struct wish){.part = part,
                       .client = c,
                       .identity = id,
                       .owner_changes = b->owner_changes,
                       .waiting = count + 1}; /* one for us */
    c->pending++;
    if (of_run_alone(c)) {
        w->denied = !legacy_granted(id, c->older->run->id, ACCESS_READ);
        w->waiting -= count;
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct topic *topic = c->subs[i].topic;
        w->threads[i].wish = w;
        if (topic) {
            access_check(b, id, topic->thread_id, ACCESS_READ, on_access, &w->threads[i]);
        } else { /* an ended run, on its last bytes */
            w->denied = true;
            w->waiting--;
        }
    }
    if (--w->waiting == 0)
        wish_end(w);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is whose answers are waited for */
}

static void extend_one(struct round_part *part)
{
    struct bridge *b = part->bridge;
    const struct question *q = part->question;
    char connection[CONNECTION_SIZE];
    struct identity *id = NULL;
    struct client *c = NULL;

    if (b->clients &&
        extension_read(b->auth, q->text, q->len, clock_wall_ms(), connection, &id))
        c = renew_find(b->clients, connection);
    if (!c || strcmp(c->identity->sub, id->sub) != 0) {
        identity_unref(id);
        answer(part, EXTEND_NONE, 0);
    } else if (id->expires_ms <= c->identity->end_ms) {
        identity_unref(id); /* it has that already */
        answer(part, EXTEND_DONE, c->identity->end_ms);
    } else {
        ask_threads(part, c, id);
    }
}

/* --- all of them ----------------------------------------------------------------------
 */

struct call {
    extend_fn *fn;
    void *arg;
};

/* At most one has that stream. */
static void on_all(const struct round *round, void *arg)
{
    struct call *call = arg;
    struct extend_answer best = {EXTEND_NONE, 0};

    for (size_t i = 0; i < round_size(round); i++) {
        const struct extend_answer *said = round_said(round, i);
        if (!said)
            best.outcome = best.outcome == EXTEND_NONE ? EXTEND_UNKNOWN : best.outcome;
        else if (said->outcome != EXTEND_NONE)
            best = *said;
    }
    if (call->fn)
        call->fn(&best, call->arg);
    free(call);
}

bool extension_ask(struct bridge *b, const char *text, size_t len, extend_fn *fn,
                   void *arg)
{
    static const struct round_kind kind = {.question_size = sizeof(struct question),
                                           .answer_size = sizeof(struct extend_answer),
                                           .bounded = true,
                                           .each = extend_one,
                                           .done = on_all};
    struct call *call = malloc(sizeof(*call));
    struct question *q = calloc(1, sizeof(*q));
    bool ok = call && q && len <= EXTENSION_MAX;

    if (ok) {
        *call = (struct call){fn, arg};
        q->len = len;
        memcpy(q->text, text, len);
        ok = round_ask(b, &kind, q, call);
    }
    free(q);
    if (!ok)
        free(call);
    return ok;
}

/* --- the other bridges ----------------------------------------------------------------
 */

bool extension_tell(struct bridge *b, const char *text)
{
    char channel[NAMES_PREFIX_MAX + 32];
    struct buf json;
    bool ok;

    snprintf(channel, sizeof(channel), "%s" FEED_BRIDGES_CHANNEL, b->conf->redis_prefix);
    buf_init(&json);
    buf_printf(&json, "{\"type\":\"extend\",\"extension\":\"%s\"}", text);
    ok = !json.failed && publisher_ready(b->publisher);
    if (ok)
        publisher_hint(b->publisher, channel, json.data);
    buf_fini(&json);
    return ok;
}

void extension_hear(struct bridge *b, const char *data, size_t len)
{
    char connection[CONNECTION_SIZE];
    struct identity *id = NULL;
    json_t *hint = len <= EXTENSION_MAX + 64
                       ? json_read(data, len, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    const char *type = json_string_value(json_object_get(hint, "type"));
    const json_t *text = json_object_get(hint, "extension");

    if (type && !strcmp(type, "extend") && json_is_string(text) &&
        extension_read(b->auth, json_string_value(text), json_string_length(text),
                       clock_wall_ms(), connection, &id)) {
        if (connection_here(b, connection))
            extension_ask(b, json_string_value(text), json_string_length(text), NULL,
                          NULL);
        identity_unref(id);
    }
    json_decref(hint);
}
