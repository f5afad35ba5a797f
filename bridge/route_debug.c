/* route_debug: GET /debug/streams at --admin-listen: what each open stream is doing, as
 * lines of JSON, of all reactors. It needs no token, as nothing at that door does; but a
 * page in a browser of somebody who can reach the door must not read it, so a Host that
 * somebody could own in the public DNS is refused (DNS rebinding). */
#include "bridge/bridge.h"
#include "bridge/limits.h"
#include "bridge/reactors.h"
#include "bridge/request.h"
#include "bridge/round.h"
#include "bridge/routes.h"
#include "bridge/site.h"
#include "bridge/tour.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 10000

/* What one reactor has found. */
struct listing {
    struct buf lines; /* freed by free_listing */
    size_t listed;
    bool failed;
};

static void on_toured(struct buf *lines, size_t listed, void *arg)
{
    struct round_part *part = arg;

    *(struct listing *)part->answer =
        (struct listing){.lines = *lines, .listed = listed, .failed = lines->failed};
    round_answer(part);
}

static void tour_one(struct round_part *part)
{
    struct listing *answer = part->answer;

    if (tour_start(part->bridge->clients, part->question, on_toured, part))
        return;
    buf_init(&answer->lines);
    answer->failed = true;
    round_answer(part);
}

static void free_listing(void *answer)
{
    struct listing *listing = answer;

    if (listing->lines.data)
        buf_fini(&listing->lines);
}

/* As many lines of it as there is room for. */
static size_t add_lines(struct buf *out, const struct listing *from, size_t room)
{
    const char *end = from->lines.data;
    size_t count = from->listed < room ? from->listed : room;

    for (size_t i = 0; i < count; i++)
        end = strchr(end, '\n') + 1;
    if (count)
        buf_add(out, from->lines.data, (size_t)(end - from->lines.data));
    return count;
}

/* The last line says how many there are, and how many reactors have not answered. */
static void on_toured_all(const struct round *round, void *arg)
{
    struct request *r = arg;
    const struct tour_filter *filter = r->state;
    size_t listed = 0, silent = 0;
    struct buf out;

    buf_init(&out);
    for (size_t i = 0; i < round_size(round); i++) {
        const struct listing *said = round_said(round, i);
        if (said && !said->failed)
            listed += add_lines(&out, said, filter->limit - listed);
        else
            silent++;
    }
    buf_printf(&out, "{\"listed\":%zu,\"open\":%zu,\"reactors\":%zu,\"silent\":%zu}\n",
               listed, limits_streams(r->bridge->limits), round_size(round), silent);
    if (out.failed)
        request_error(r, 503, "unavailable", "Out of memory, try again.");
    else
        request_reply(r, 200, "application/x-ndjson", out.data, out.len);
    buf_fini(&out);
    request_unref(r);
}

static bool read_limit(struct request *r, size_t *ret)
{
    char text[8];
    int found = http_query_get(r->http.query, "limit", text, sizeof(text));
    size_t digits = strspn(text, "0123456789");

    *ret = LIMIT_DEFAULT;
    if (found == 0)
        return true;
    if (found < 0 || digits == 0 || text[digits])
        return false;
    *ret = (size_t)strtoul(text, NULL, 10);
    return *ret >= 1 && *ret <= LIMIT_MAX;
}

static bool read_filter(struct request *r, struct tour_filter *ret)
{
    struct span query = r->http.query;

    if (!read_limit(r, &ret->limit)) {
        request_error(r, 400, "bad_limit", "limit is a number from 1 to 10000.");
        return false;
    }
    if (http_query_get(query, "sub", ret->sub, sizeof(ret->sub)) < 0 ||
        http_query_get(query, "thread", ret->thread_id, sizeof(ret->thread_id)) < 0) {
        request_error(r, 400, "bad_query", "sub and thread may be given once each.");
        return false;
    }
    return true;
}

static bool host_local(const struct request *r)
{
    struct site host;

    return site_of_host(http_header(&r->http, "Host"), "http", &host) &&
           site_local(&host);
}

void route_debug_streams(struct request *r)
{
    static const struct round_kind kind = {.question_size = sizeof(struct tour_filter),
                                           .answer_size = sizeof(struct listing),
                                           .bounded = true,
                                           .each = tour_one,
                                           .done = on_toured_all,
                                           .gone = free_listing};
    struct tour_filter *filter;

    if (!host_local(r)) {
        request_error(r, 403, "host_not_allowed",
                      "Ask by an IP address or a name without dots.");
        return;
    }
    filter = r->state = calloc(1, sizeof(*filter));
    r->state_free = free;
    if (filter && !read_filter(r, filter))
        return;
    if (filter && round_ask(r->bridge, &kind, filter, request_ref(r)))
        return;
    request_error(r, 503, "unavailable", "Out of memory, try again.");
    if (filter)
        request_unref(r);
}
