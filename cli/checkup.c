/* checkup: see checkup.h.
 *
 *   first ── a stream? ──no──▶ health, events, elsewhere
 *     │ held back? ─▶ again, plain ─▶ blocks
 *     ▼
 *   bearer, post ─▶ quiet, kept, more (at once)
 */
#include "cli/checkup.h"

#include "cli/pace.h"
#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    HEADERS_MAX = OPTIONS_HEADERS_MAX + 8,
    BATCH_MAX = CHECKUP_MORE_MAX + 2,
    BLOCKS_EVENTS = 60,
    BLOCKS_EVERY_MS = 25,
    BLOCKS_BYTES = 1000,
    IDLE_MAX_MS = 60000, /* that is waited for unasked */
    ROOM_MS = 1000       /* a machine may be busy */
};

/* One request before it is made. */
struct errand {
    struct visit *visit;
    struct transfer transfer;
    char url[1400];
    const char *headers[HEADERS_MAX];
    size_t header_count;
    char origin[320], event_id[64];
    char *bearer; /* owned */
};

/* --- errands ------------------------------------------------------------------------ */

static bool given(const struct options *o, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < o->header_count; i++)
        if (strncasecmp(o->headers[i], name, len) == 0 && o->headers[i][len] == ':')
            return true;
    return false;
}

/* Unless somebody has one of that name in --header. */
static void add_header(struct errand *e, const struct options *o, const char *line)
{
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, ":"), line);
    if (!given(o, name) && e->header_count < HEADERS_MAX)
        e->headers[e->header_count++] = line;
}

/* A request to `to` (below the bridge's path) whose answer takes `lasts_ms`. */
static void errand(struct errand *e, struct visit *visit, const struct checkup *c,
                   const char *path, const char *to, int64_t lasts_ms)
{
    const struct options *o = c->options;

    *e = (struct errand){.visit = visit};
    snprintf(e->url, sizeof(e->url), "%s%s%s", c->place.origin, path, to);
    for (size_t i = 0; i < o->header_count; i++)
        e->headers[e->header_count++] = o->headers[i];
    e->transfer = (struct transfer){.url = e->url,
                                    .compressed = true,
                                    .insecure = o->insecure,
                                    .ca_file = o->ca_file,
                                    .connect_ms = o->timeout_ms,
                                    .total_ms = o->timeout_ms + lasts_ms + ROOM_MS};
}

/* As EventSource asks when it comes back. */
static void as_browser(struct errand *e, const struct checkup *c)
{
    snprintf(e->event_id, sizeof(e->event_id), "Last-Event-ID: %s", c->event_id);
    add_header(e, c->options, "Accept: text/event-stream");
    add_header(e, c->options, "Cache-Control: no-cache");
    add_header(e, c->options, "Cookie: threadcast_doctor=1");
    add_header(e, c->options, e->event_id);
}

static void probe(struct errand *e, struct visit *visit, const struct checkup *c,
                  const char *query, int64_t lasts_ms)
{
    char to[300];

    snprintf(to, sizeof(to), "/v1/probe?%s", query);
    errand(e, visit, c, c->place.path, to, lasts_ms);
    as_browser(e, c);
}

static bool go(struct errand *list, size_t count)
{
    struct transfer *transfers[BATCH_MAX] = {NULL};
    bool ok;

    for (size_t i = 0; i < count; i++) {
        list[i].transfer.headers = list[i].headers;
        list[i].transfer.header_count = list[i].header_count;
        transfers[i] = &list[i].transfer;
    }
    ok = transfers_run(transfers, count);
    for (size_t i = 0; i < count; i++) {
        struct visit *v = list[i].visit;
        v->made = ok;
        v->answer = list[i].transfer.answer;
        stream_read(&v->answer, &v->stream);
        free(list[i].bearer);
    }
    return ok;
}

/* --- the pace ----------------------------------------------------------------------- */

static void pace_errand(struct errand *e, struct visit *visit, const struct checkup *c,
                        bool compressed)
{
    const struct options *o = c->options;
    char query[100];

    snprintf(query, sizeof(query), "events=%" PRId64 "&every-ms=%" PRId64, o->events,
             o->every_ms);
    probe(e, visit, c, query, o->events * o->every_ms);
    e->transfer.compressed = compressed;
}

static bool held(const struct checkup *c, const struct visit *v)
{
    return pace_of(&v->stream, &v->answer, c->options->every_ms).held;
}

/* Is it so again, and does compression do it? Then: in what blocks? */
static bool look_closer(struct checkup *c)
{
    struct errand list[2];
    char query[100];

    pace_errand(&list[0], &c->again, c, true);
    pace_errand(&list[1], &c->plain, c, false);
    if (!go(list, 2))
        return false;
    if (!held(c, &c->plain))
        return true;
    snprintf(query, sizeof(query), "events=%d&every-ms=%d&bytes=%d", BLOCKS_EVENTS,
             BLOCKS_EVERY_MS, BLOCKS_BYTES);
    probe(&list[0], &c->blocks, c, query, BLOCKS_EVENTS * BLOCKS_EVERY_MS);
    list[0].transfer.compressed = false;
    return go(list, 1);
}

/* --- what else has to pass ---------------------------------------------------------- */

static bool ask_bearer_and_post(struct checkup *c)
{
    const struct options *o = c->options;
    const char *token = o->token ? o->token : "threadcast-doctor";
    struct errand list[2];
    size_t size = strlen(token) + 32;

    probe(&list[0], &c->bearer, c, o->token ? "events=0&seen=1" : "events=0", 0);
    list[0].bearer = malloc(size);
    if (!list[0].bearer)
        return false;
    snprintf(list[0].bearer, size, "Authorization: Bearer %s", token);
    add_header(&list[0], o, list[0].bearer);
    add_header(&list[0], o, "Idempotency-Key: threadcast-doctor");
    errand(&list[1], &c->post, c, c->place.path, "/v1/session", 0);
    snprintf(list[1].origin, sizeof(list[1].origin), "Origin: %s", c->place.origin);
    add_header(&list[1], o, list[1].origin);
    add_header(&list[1], o, "Content-Type: application/json");
    list[1].transfer.post = true;
    return go(list, 2);
}

/* --- many, and silence -------------------------------------------------------------- */

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

/* A limit that is met between two keepalives is one that matters. */
static void plan_silence(struct checkup *c)
{
    int64_t keepalive_ms = stream_hello_number(&c->first.stream, "keepaliveMs");

    c->idle_ms = c->options->idle_ms;
    if (c->idle_ms < 0)
        c->idle_ms = clamp(keepalive_ms * 12 / 10 + 2000, 2000, IDLE_MAX_MS);
    c->keepalive_ms = clamp(c->idle_ms / 4, 100, keepalive_ms > 100 ? keepalive_ms : 100);
    c->keepalive_ms = clamp(c->keepalive_ms, c->idle_ms / 99 + 1, 60000);
    c->keepalives = (c->idle_ms + c->keepalive_ms - 1) / c->keepalive_ms;
    c->short_ms = clamp(c->idle_ms / 2, 300, 3000);
    c->more_count = (size_t)clamp(c->options->streams - 2, 0, CHECKUP_MORE_MAX);
}

static bool open_many(struct checkup *c)
{
    struct errand list[BATCH_MAX];
    size_t count = 0;
    char query[100];

    snprintf(query, sizeof(query), "events=0&quiet-ms=%" PRId64, c->idle_ms);
    probe(&list[count++], &c->quiet, c, query, c->idle_ms);
    snprintf(query, sizeof(query),
             "events=0&keepalives=%" PRId64 "&keepalive-ms=%" PRId64, c->keepalives,
             c->keepalive_ms);
    probe(&list[count++], &c->kept, c, query, c->keepalives * c->keepalive_ms);
    snprintf(query, sizeof(query), "events=0&quiet-ms=%" PRId64, c->short_ms);
    for (size_t i = 0; i < c->more_count; i++)
        probe(&list[count++], &c->more[i], c, query, c->short_ms);
    return go(list, count);
}

static void visit_fini(struct visit *v)
{
    answer_fini(&v->answer);
    stream_fini(&v->stream);
    *v = (struct visit){.made = false};
}

/* --- when there is no stream -------------------------------------------------------- */

static bool ask_around(struct checkup *c)
{
    struct errand list[2];
    char path[sizeof(c->place.path)];

    errand(&list[0], &c->health, c, c->place.path, "/healthz", 0);
    errand(&list[1], &c->events, c, c->place.path, "/v1/events", 0);
    if (!go(list, 2))
        return false;
    snprintf(path, sizeof(path), "%s", c->place.path);
    while (path[0]) { /* the paths above it */
        *strrchr(path, '/') = '\0';
        visit_fini(&c->elsewhere);
        errand(&list[0], &c->elsewhere, c, path, "/v1/probe?events=0", 0);
        if (!go(list, 1))
            return false;
        if (c->elsewhere.stream.hello) {
            snprintf(c->elsewhere_path, sizeof(c->elsewhere_path), "%s", path);
            break;
        }
    }
    return true;
}

/* --- all of it ---------------------------------------------------------------------- */

bool checkup_run(struct checkup *c, const struct options *o, const struct place *place)
{
    struct errand e;

    *c = (struct checkup){.options = o, .place = *place};
    snprintf(c->event_id, sizeof(c->event_id), "doctor-%" PRIx64,
             (uint64_t)clock_us() & 0xffffffff);
    pace_errand(&e, &c->first, c, true);
    if (!go(&e, 1))
        return false;
    if (!c->first.stream.hello)
        return c->first.stream.greeted || !c->first.answer.status || ask_around(c);
    if (held(c, &c->first) && !look_closer(c))
        return false;
    if (!ask_bearer_and_post(c))
        return false;
    plan_silence(c);
    return c->idle_ms == 0 || open_many(c);
}

void checkup_fini(struct checkup *c)
{
    struct visit *const all[] = {&c->first,  &c->again,  &c->plain,    &c->blocks,
                                 &c->bearer, &c->post,   &c->quiet,    &c->kept,
                                 &c->health, &c->events, &c->elsewhere};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        visit_fini(all[i]);
    for (size_t i = 0; i < CHECKUP_MORE_MAX; i++)
        visit_fini(&c->more[i]);
}
