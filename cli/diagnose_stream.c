/* diagnose_stream: what a stream that came shows. Each function looks for one thing. */
#include "cli/diagnose.h"

#include "cli/pace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CLOCK_MS = 5000, CERTIFICATE_DAYS = 14, QUEUE_MS = 2000 };

static double as_s(int64_t us)
{
    return (double)us / 1e6;
}

static int64_t keepalive_ms(const struct checkup *c)
{
    return stream_hello_number(&c->first.stream, "keepaliveMs");
}

static struct pace pace(const struct checkup *c, const struct visit *v)
{
    return pace_of(&v->stream, &v->answer, c->options->every_ms);
}

/* --- text that comes late ----------------------------------------------------------- */

static void find_blocks(const struct checkup *c, char *out, size_t size)
{
    struct pace p = pace_of(&c->blocks.stream, &c->blocks.answer, 25);

    if (!c->blocks.stream.hello || p.heaps <= 1 || !p.heap_bytes)
        snprintf(out, size, "until the answer ends");
    else if (p.heaps * 2 > p.pieces)
        snprintf(out, size, "until there is more of it");
    else
        snprintf(out, size, "until there is a block of some %zu bytes", p.heap_bytes);
}

static void find_held(const struct checkup *c, struct diagnosis *d)
{
    struct pace first = pace(c, &c->first);
    char encoding[40], until[80];
    bool packed =
        answer_header(&c->first.answer, "Content-Encoding", encoding, sizeof(encoding));
    bool held = first.held && c->again.made && pace(c, &c->again).held;

    if (held && pace(c, &c->plain).held) {
        find_blocks(c, until, sizeof(until));
        diagnosis_add(d, TROUBLE_BUFFERING,
                      "%zu pieces were sent one every %" PRId64
                      " ms and came in %zu heap%s, "
                      "up to %" PRId64 " ms late: they are kept %s%s%s.",
                      first.pieces, c->options->every_ms, first.heaps,
                      first.heaps == 1 ? "" : "s", first.late_max_ms, until,
                      packed ? "; compressed, too: " : "", packed ? encoding : "");
    } else if (held && packed) {
        struct finding *f = diagnosis_add(
            d, TROUBLE_COMPRESSION,
            "Asked as browsers ask (Accept-Encoding), the pieces come as %s, up to "
            "%" PRId64 " ms late; without compression they come in time.",
            encoding, first.late_max_ms);
        snprintf(f->word, sizeof(f->word), "%s", encoding);
    } else if (first.held || first.uneven) {
        diagnosis_note(d,
                       "The pieces came in %zu heaps, up to %" PRId64
                       " ms late: the network "
                       "or a machine was busy, or something passes text on only every so "
                       "often. Ask again.",
                       first.heaps, first.late_max_ms);
    } else if (packed) {
        diagnosis_note(d,
                       "The stream comes as %s. Nothing is held back, but that is work "
                       "for nothing: the bridge asks for no-transform.",
                       encoding);
    }
}

/* --- versions ----------------------------------------------------------------------- */

static void find_http10(const struct checkup *c, struct diagnosis *d)
{
    const char *inner = stream_hello_text(&c->first.stream, "http");
    bool to_bridge = inner && strcmp(inner, "1.0") == 0;
    bool to_us = c->first.answer.http == 10;

    if (to_bridge || to_us)
        diagnosis_add(d, TROUBLE_HTTP10,
                      "It is spoken %s: the end of a stream cannot be told from a cut "
                      "connection, and every request needs a connection of its own.",
                      !to_us      ? "to the bridge"
                      : to_bridge ? "all the way"
                                  : "to you");
    if (c->first.answer.http == 11 || to_us)
        diagnosis_note(d,
                       "No HTTP/2 here: a browser opens six streams to this host and no "
                       "more, all tabs together. HTTP/2 in front lifts that, and so does "
                       "/v1/events with several threads.");
}

/* --- silence ------------------------------------------------------------------------ */

/* A whole answer that is held back says nothing of silence. */
static bool is_cut(const struct visit *v)
{
    return v->made && v->answer.status == 200 && !v->stream.ended && !v->stream.busy[0] &&
           !v->stream.bye;
}

static bool near(int64_t a_us, int64_t b_us)
{
    int64_t apart = a_us > b_us ? a_us - b_us : b_us - a_us;

    return apart * 5 < a_us + b_us; /* some 40 % of either */
}

static void find_idle_limit(const struct checkup *c, struct diagnosis *d)
{
    int64_t cut_us = c->quiet.answer.ended_us, every_ms = keepalive_ms(c);
    double cut = as_s(cut_us);

    if (every_ms && cut_us / 1000 > every_ms * 11 / 10) {
        diagnosis_note(
            d,
            "A stream without a byte is cut after %.1f s. Keepalives come every "
            "%.0f s, so none is: keep --keepalive-ms below.",
            cut, (double)every_ms / 1000);
        return;
    }
    struct finding *f = diagnosis_add(
        d, TROUBLE_IDLE,
        "Without a byte it is cut after %.1f s, and the bridge's keepalives "
        "come every %.4g s: while an agent thinks, readers reconnect all the "
        "time.",
        cut, (double)every_ms / 1000);
    snprintf(f->word, sizeof(f->word), "%" PRId64, cut_us / 2000);
}

static void find_silence(const struct checkup *c, struct diagnosis *d)
{
    const struct stream *kept = &c->kept.stream;

    if (is_cut(&c->kept)) {
        struct finding *f = diagnosis_add(
            d,
            is_cut(&c->quiet) && near(c->quiet.answer.ended_us, c->kept.answer.ended_us)
                ? TROUBLE_TIME_LIMIT
                : TROUBLE_CUT,
            "A stream with a keepalive every %.4g s was cut after %.1f s%s%s.",
            (double)c->keepalive_ms / 1000, as_s(c->kept.answer.ended_us),
            c->kept.answer.why[0] ? ": " : "", c->kept.answer.why);
        snprintf(f->word, sizeof(f->word), "%" PRId64, c->kept.answer.ended_us / 2000);
        return;
    }
    if (kept->ended && (int64_t)kept->keepalives < c->keepalives)
        diagnosis_add(d, TROUBLE_KEEPALIVES,
                      "%zu of %" PRId64
                      " came through: without them nobody knows a silent "
                      "stream from a dead one.",
                      kept->keepalives, c->keepalives);
    if (is_cut(&c->quiet))
        find_idle_limit(c, d);
}

/* --- headers ------------------------------------------------------------------------ */

static void add_name(char *list, size_t size, const char *name)
{
    size_t len = strlen(list);

    snprintf(list + len, size - len, "%s%s", len ? ", " : "", name);
}

static void find_request_headers(const struct checkup *c, struct diagnosis *d)
{
    const char *id = stream_hello_text(&c->first.stream, "lastEventId");
    char lost[200] = "";

    if (!stream_hello_header(&c->first.stream, "last-event-id") ||
        (id && strcmp(id, c->event_id) != 0))
        add_name(lost, sizeof(lost), "Last-Event-ID");
    if (!stream_hello_header(&c->first.stream, "cookie"))
        add_name(lost, sizeof(lost), "Cookie");
    if (c->bearer.stream.hello) {
        if (!stream_hello_header(&c->bearer.stream, "authorization"))
            add_name(lost, sizeof(lost), "Authorization");
        if (!stream_hello_header(&c->bearer.stream, "idempotency-key"))
            add_name(lost, sizeof(lost), "Idempotency-Key");
    }
    if (!*lost)
        return;
    struct finding *f = diagnosis_add(
        d, TROUBLE_REQUEST_HEADERS,
        "Taken away or changed on the way to the bridge: %s.%s", lost,
        strstr(lost, "Last-Event-ID") ? " A reader that comes back begins anew." : "");
    snprintf(f->word, sizeof(f->word), "%.*s", (int)strcspn(lost, ","), lost);
}

static void find_content_type(const struct checkup *c, struct diagnosis *d)
{
    char type[100];

    answer_header(&c->first.answer, "Content-Type", type, sizeof(type));
    if (strncasecmp(type, "text/event-stream", 17) != 0)
        diagnosis_add(d, TROUBLE_CONTENT_TYPE,
                      "It is %s, and EventSource takes text/event-stream alone.",
                      *type ? type : "gone");
}

static void find_cache(const struct checkup *c, struct diagnosis *d)
{
    const struct answer *a = &c->first.answer;
    char control[200], hit[100], age[40];
    bool hits = (answer_header(a, "X-Cache", hit, sizeof(hit)) ||
                 answer_header(a, "CF-Cache-Status", hit, sizeof(hit))) &&
                strcasestr(hit, "hit");

    answer_header(a, "Cache-Control", control, sizeof(control));
    if (hits || (answer_header(a, "Age", age, sizeof(age)) && strtol(age, NULL, 10) > 0))
        diagnosis_add(d, TROUBLE_CACHE, "This answer came out of a cache (%s).",
                      hits ? hit : "it has an Age");
    else if (!strcasestr(control, "no-cache") && !strcasestr(control, "no-store"))
        diagnosis_add(d, TROUBLE_CACHE,
                      "Cache-Control is %s; the bridge said no-cache, "
                      "no-transform.",
                      *control ? control : "gone");
    else if (!strcasestr(control, "no-transform"))
        diagnosis_note(d,
                       "Cache-Control came without no-transform (%s): who stands further "
                       "in front may compress.",
                       control);
}

/* --- how many ----------------------------------------------------------------------- */

static bool is_open(const struct visit *v)
{
    return v->answer.status == 200 && v->stream.greeted && !v->stream.busy[0];
}

/* The bridge's clock says when it was asked: did one wait until another was over? */
static size_t count_late(const struct checkup *c)
{
    int64_t first = stream_hello_number(&c->quiet.stream, "at");
    size_t late = 0;

    for (size_t i = 0; c->short_ms >= QUEUE_MS && i < c->more_count; i++) {
        int64_t at = stream_hello_number(&c->more[i].stream, "at");
        late += first && at - first >= c->short_ms;
    }
    return late;
}

static void find_streams(const struct checkup *c, struct diagnosis *d)
{
    size_t open = (size_t)is_open(&c->quiet) + is_open(&c->kept), own = 0;
    size_t all = c->more_count + 2, late = count_late(c);
    const struct visit *refused = is_open(&c->quiet) ? NULL : &c->quiet;

    if (!is_open(&c->kept))
        refused = &c->kept;
    for (size_t i = 0; i < c->more_count; i++) {
        open += is_open(&c->more[i]);
        own += strstr(c->more[i].stream.busy, "probes") != NULL;
        if (!is_open(&c->more[i]))
            refused = &c->more[i];
    }
    if (own) {
        diagnosis_note(d,
                       "The bridge has enough of probes for now (--max-probes, "
                       "--probes-per-min), so not all %zu streams could be opened.",
                       all);
        return;
    }
    if (refused) {
        char by[300];
        if (refused->stream.busy[0])
            snprintf(by, sizeof(by), "the bridge says: %s", refused->stream.busy);
        else if (refused->answer.status)
            snprintf(by, sizeof(by), "the others got %d", refused->answer.status);
        else
            snprintf(by, sizeof(by), "%s", refused->answer.why);
        diagnosis_add(d, TROUBLE_STREAMS, "%zu of %zu streams could be opened; %s.", open,
                      all, by);
    } else if (late) {
        diagnosis_add(d, TROUBLE_STREAMS,
                      "%zu of %zu streams began only when others were over: something on "
                      "the way opens no more connections to the bridge.",
                      late, all);
    }
}

/* --- who we are to the bridge ------------------------------------------------------- */

static void find_origin(const struct checkup *c, struct diagnosis *d)
{
    const struct visit *v = &c->post;
    const char *body = v->answer.body.data ? v->answer.body.data : "";

    if (v->answer.status == 403 && strstr(body, "\"origin_not_allowed\"")) {
        struct finding *f = diagnosis_add(
            d, TROUBLE_ORIGIN,
            "A POST with the Origin %s is refused (origin_not_allowed): the bridge is "
            "called by another name, because a proxy changes Host or the scheme. Nobody "
            "can sign in or send a prompt.",
            c->place.origin);
        snprintf(f->word, sizeof(f->word), "%s", c->place.origin);
    } else if (!strstr(body, "\"error\"") && v->answer.status != 200) {
        diagnosis_add(d, TROUBLE_POST,
                      "POST %s/v1/session is answered %d%s%s, and not by "
                      "the bridge.",
                      c->place.path, v->answer.status, v->answer.why[0] ? ": " : "",
                      v->answer.why);
    }
}

static void find_address(const struct checkup *c, const json_t *seen, struct diagnosis *d)
{
    const char *address = json_string_value(json_object_get(seen, "address"));
    const char *peer = json_string_value(json_object_get(seen, "peer"));
    const json_t *forwarded = json_object_get(seen, "forwarded");
    bool has = false;

    for (size_t i = 0; i < json_array_size(forwarded); i++) {
        const char *name = json_string_value(json_array_get(forwarded, i));
        has |= name && strcmp(name, "x-forwarded-for") == 0;
    }
    if (!address || !peer || !has || strcmp(address, peer) != 0)
        return;
    struct finding *f = diagnosis_add(d, TROUBLE_ADDRESS,
                                      "It takes you for %s, the proxy, and does not "
                                      "believe its X-Forwarded-For: limits "
                                      "by address count all visitors as one.",
                                      peer);
    snprintf(f->word, sizeof(f->word), "%s", peer);
    (void)c;
}

static void find_token(const struct checkup *c, struct diagnosis *d)
{
    const struct visit *v = &c->bearer;
    const json_t *seen = json_object_get(v->stream.hello, "seen");

    if (!c->options->token)
        return;
    if (json_is_object(seen))
        find_address(c, seen, d);
    else if (v->answer.status == 401)
        diagnosis_add(d, TROUBLE_TOKEN,
                      "401 for what --token-file or THREADCAST_TOKEN "
                      "holds: its end, its key, or a changed header.");
    else if (v->answer.status == 403)
        diagnosis_note(d,
                       "The token has no right `probe`, so the bridge does not say what "
                       "it makes of a request.");
}

/* --- this and that ------------------------------------------------------------------ */

static void find_clock(const struct checkup *c, struct diagnosis *d)
{
    int64_t at = stream_hello_number(&c->first.stream, "at");
    int64_t from = c->first.answer.began_wall_ms;
    int64_t to = from + c->first.stream.hello_us / 1000;
    int64_t apart = at < from ? from - at : at > to ? at - to : 0;

    if (apart < CLOCK_MS)
        return;
    struct finding *f = diagnosis_add(
        d, TROUBLE_CLOCK,
        "The bridge's is %.1f s %s of this machine's. Tokens are taken with 30 s of "
        "leeway; beyond that all of them are expired, or not yet good.",
        (double)apart / 1000, at < from ? "behind" : "ahead");
    snprintf(f->word, sizeof(f->word), "%.1f", (double)apart / 1000);
}

static void find_certificate(const struct checkup *c, struct diagnosis *d)
{
    int64_t days = c->first.answer.certificate_days;

    if (days >= 0 && days < CERTIFICATE_DAYS)
        diagnosis_add(d, TROUBLE_CERTIFICATE, "In %" PRId64 " day%s.", days,
                      days == 1 ? "" : "s");
}

/* Unless it is told of one that was to last longer. */
static void find_cut(const struct checkup *c, struct diagnosis *d)
{
    const struct visit *v = &c->first;

    if (v->stream.bye)
        snprintf(d->why_not, sizeof(d->why_not),
                 "the bridge went away meanwhile (bye); try again");
    else if (!v->stream.ended && !is_cut(&c->kept))
        diagnosis_add(
            d, TROUBLE_CUT, "It was to last %.1f s and was cut after %.1f s%s%s.",
            (double)(c->options->events * c->options->every_ms) / 1000,
            as_s(v->answer.ended_us), v->answer.why[0] ? ": " : "", v->answer.why);
}

void diagnose_stream(const struct checkup *c, struct diagnosis *d)
{
    find_cut(c, d);
    find_held(c, d);
    find_http10(c, d);
    find_silence(c, d);
    find_request_headers(c, d);
    find_content_type(c, d);
    find_cache(c, d);
    if (c->quiet.made)
        find_streams(c, d);
    find_origin(c, d);
    find_token(c, d);
    find_certificate(c, d);
    find_clock(c, d);
}
