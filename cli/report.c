/* report: see report.h. What others have sent (headers, bodies, reasons) is printed
 * without its control characters: it must not speak to somebody's terminal. */
#include "cli/report.h"

#include "cli/pace.h"
#include "cli/remedy.h"
#include "common/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int report_status(const struct diagnosis *d)
{
    return d->why_not[0] ? 2 : d->count ? 1 : 0;
}

static double ms(int64_t us)
{
    return (double)us / 1000;
}

static const char *http_name(int version)
{
    return version == 10   ? "HTTP/1.0"
           : version == 11 ? "HTTP/1.1"
           : version == 20 ? "HTTP/2"
           : version == 30 ? "HTTP/3"
                           : "HTTP";
}

/* --- what was measured -------------------------------------------------------------- */

static void add_row(struct buf *out, const char *name)
{
    buf_printf(out, "  %-10s", name);
}

/* curl does not speak it here, but browsers will. */
static bool offers_http3(const struct answer *a)
{
    char service[200];

    return answer_header(a, "Alt-Svc", service, sizeof(service)) && strstr(service, "h3");
}

static void add_way(const struct checkup *c, struct buf *out)
{
    const char *inner = stream_hello_text(&c->first.stream, "http");
    char word[220];

    add_row(out, "way");
    switch (product_of(&c->first.answer, word, sizeof(word))) {
    case PRODUCT_NONE:
        buf_str(out, "no proxy that says its name");
        break;
    case PRODUCT_OTHER:
        buf_str(out, word);
        break;
    case PRODUCT_NGINX:
    case PRODUCT_HAPROXY:
    case PRODUCT_CADDY:
    case PRODUCT_APACHE:
    case PRODUCT_CLOUDFLARE:
    case PRODUCT_ALB:
    case PRODUCT_BRIDGE:
    case PRODUCT_HERE:
    case PRODUCTS:
        buf_printf(out, "%s (%s)",
                   product_name(product_of(&c->first.answer, word, sizeof(word))), word);
    }
    buf_printf(out, ", %s to you", http_name(c->first.answer.http));
    if (inner)
        buf_printf(out, ", HTTP/%s to the bridge", inner);
    if (offers_http3(&c->first.answer))
        buf_str(out, ", HTTP/3 offered");
    buf_char(out, '\n');
}

static void add_answer(const struct checkup *c, struct buf *out)
{
    const struct answer *a = &c->first.answer;

    add_row(out, "answer");
    buf_printf(out, "%d, first byte after %.0f ms (connected after %.0f", a->status,
               ms(a->first_us), ms(a->connected_us));
    if (a->secured_us > 0)
        buf_printf(out, ", TLS after %.0f", ms(a->secured_us));
    buf_str(out, ")\n");
}

static void add_pace(const struct checkup *c, struct buf *out)
{
    struct pace p = pace_of(&c->first.stream, &c->first.answer, c->options->every_ms);

    add_row(out, "pace");
    buf_printf(out,
               "%zu pieces, one every %" PRId64
               " ms, came in %zu; delays: median %" PRId64 " ms, longest %" PRId64
               " ms\n",
               p.pieces, c->options->every_ms, p.heaps, p.late_median_ms, p.late_max_ms);
}

static void add_end(const struct visit *v, struct buf *out)
{
    if (v->stream.ended)
        buf_str(out, "held");
    else if (v->answer.status != 200 || v->stream.busy[0])
        buf_str(out, "refused");
    else
        buf_printf(out, "cut after %.1f s", ms(v->answer.ended_us) / 1000);
}

static void add_silence(const struct checkup *c, struct buf *out)
{
    size_t open = (size_t)c->quiet.stream.greeted + c->kept.stream.greeted;

    if (!c->quiet.made)
        return;
    add_row(out, "silence");
    buf_printf(out, "%.4g s without a byte: ", (double)c->idle_ms / 1000);
    add_end(&c->quiet, out);
    buf_printf(out, "; with a keepalive every %.4g s: ", (double)c->keepalive_ms / 1000);
    add_end(&c->kept, out);
    buf_printf(out, ", %zu of %" PRId64 " came\n", c->kept.stream.keepalives,
               c->keepalives);
    for (size_t i = 0; i < c->more_count; i++)
        open += c->more[i].stream.greeted && !c->more[i].stream.busy[0];
    add_row(out, "at once");
    buf_printf(out, "%zu of %zu streams\n", open, c->more_count + 2);
}

static void add_seen(const struct checkup *c, struct buf *out)
{
    const json_t *seen = json_object_get(c->bearer.stream.hello, "seen");
    const char *scheme = json_string_value(json_object_get(seen, "scheme"));
    const char *host = json_string_value(json_object_get(seen, "host"));
    const char *address = json_string_value(json_object_get(seen, "address"));
    const char *version = json_string_value(json_object_get(seen, "version"));

    if (!scheme || !host || !address || !version)
        return;
    add_row(out, "bridge");
    buf_printf(out, "%s; it is called %s://%s:%" PRId64 " and takes you for %s\n",
               version, scheme, host,
               (int64_t)json_integer_value(json_object_get(seen, "port")), address);
}

/* --- for people --------------------------------------------------------------------- */

static void add_lines(const struct buf *lines, const char *name, struct buf *out)
{
    const char *at = lines->data;

    while (at && *at) {
        size_t len = strcspn(at, "\n");
        buf_printf(out, "     %-11s%.*s\n", name, (int)len, at);
        name = "";
        at += len + (at[len] == '\n');
    }
}

/* `only`: where it was recognised who stands in front. */
static void add_remedies(const struct finding *f, enum product only, struct buf *out)
{
    for (int p = PRODUCT_NGINX; p < PRODUCTS; p++) {
        struct buf lines;
        bool proxy = p < PRODUCT_OTHER;
        if (proxy && only != PRODUCT_NONE && only != PRODUCT_OTHER && p != (int)only)
            continue;
        buf_init(&lines);
        if (remedy_lines(f, (enum product)p, &lines))
            add_lines(&lines, p == PRODUCT_HERE ? "" : product_name((enum product)p),
                      out);
        buf_fini(&lines);
    }
}

/* Wrapped, with a margin. */
static void add_wrapped(struct buf *out, const char *margin, const char *text)
{
    size_t width = 92 - strlen(margin);

    while (*text) {
        size_t len = strlen(text), cut = len;
        if (len > width)
            for (cut = width; cut && text[cut] != ' '; cut--)
                ;
        if (!cut)
            cut = strcspn(text, " ");
        buf_printf(out, "%s%.*s\n", margin, (int)cut, text);
        text += cut;
        text += *text == ' ';
    }
}

static void add_findings(const struct checkup *c, const struct diagnosis *d,
                         struct buf *out)
{
    char word[220];
    enum product front = product_of(&c->first.answer, word, sizeof(word));

    for (size_t i = 0; i < d->count; i++) {
        const struct finding *f = &d->findings[i];
        buf_printf(out, "\n%zu. %s  [%s]\n", i + 1, trouble_title(f->trouble),
                   trouble_word(f->trouble));
        add_wrapped(out, "   ", f->what);
        buf_char(out, '\n');
        add_remedies(f, c->options->all ? PRODUCT_NONE : front, out);
    }
}

/* Where more is to be found. */
static void add_pointers(const struct checkup *c, struct buf *out)
{
    char word[220];
    enum product front = product_of(&c->first.answer, word, sizeof(word));

    buf_str(out, "\nWhole files to copy are in docs/proxies, and why in "
                 "docs/OPERATIONS.md (In front of it).\n");
    if (front != PRODUCT_NONE && front != PRODUCT_OTHER && !c->options->all)
        buf_printf(out,
                   "More proxies behind %s? --all has the lines of every kind; run it "
                   "behind each to see which it is.\n",
                   product_name(front));
}

static void add_notes(const struct diagnosis *d, struct buf *out)
{
    if (d->note_count)
        buf_str(out, "\nGood to know:\n");
    for (size_t i = 0; i < d->note_count; i++) {
        struct buf note;
        buf_init(&note);
        add_wrapped(&note, "   ", d->notes[i]);
        if (note.data)
            note.data[1] = '-';
        buf_add(out, note.data, note.len);
        buf_fini(&note);
    }
}

static void clean(struct buf *out)
{
    for (size_t i = 0; i < out->len; i++) {
        unsigned char ch = (unsigned char)out->data[i];
        bool c1 = ch == 0xc2 && (unsigned char)out->data[i + 1] < 0xa0; /* U+0080 to 9F */
        if ((ch < ' ' && ch != '\n') || ch == 0x7f || c1)
            out->data[i] = '?';
        if (c1)
            out->data[++i] = '?';
    }
}

void report_text(const struct checkup *c, const struct diagnosis *d, struct buf *out)
{
    buf_printf(out, "threadcast doctor %s%s\n\n", c->place.origin, c->place.path);
    if (c->first.answer.status) {
        add_way(c, out);
        add_answer(c, out);
    }
    if (c->first.stream.hello) {
        add_pace(c, out);
        add_silence(c, out);
        add_seen(c, out);
    }
    if (d->why_not[0]) {
        buf_printf(out, "%sIt could not be found out: %s.\n",
                   c->first.answer.status ? "\n" : "", d->why_not);
    } else if (d->count) {
        buf_printf(out, "\n%zu thing%s to change.\n", d->count, d->count == 1 ? "" : "s");
    } else {
        buf_str(out, "\nNothing to change: streams pass as the bridge sends them.\n");
    }
    add_findings(c, d, out);
    if (d->count)
        add_pointers(c, out);
    add_notes(d, out);
    clean(out);
}

/* --- for programs ------------------------------------------------------------------- */

/* Somebody's bytes, as text. */
static json_t *json_bytes(const char *text, size_t len)
{
    struct buf quoted;
    json_t *value;

    buf_init(&quoted);
    buf_json(&quoted, text, len);
    value =
        quoted.failed ? NULL : json_read(quoted.data, quoted.len, JSON_DECODE_ANY, NULL);
    buf_fini(&quoted);
    return value;
}

static json_t *json_words(const char *text)
{
    return json_bytes(text, strlen(text));
}

static json_t *json_lines(const struct buf *lines)
{
    json_t *list = json_array();
    const char *at = lines->data;

    while (at && *at) {
        size_t len = strcspn(at, "\n");
        json_array_append_new(list, json_bytes(at, len));
        at += len + (at[len] == '\n');
    }
    return list;
}

static json_t *json_changes(const struct finding *f)
{
    json_t *list = json_array();

    for (int p = PRODUCT_NGINX; p < PRODUCTS; p++) {
        struct buf lines;
        const char *at = p == PRODUCT_HERE ? "anywhere" : product_name((enum product)p);
        buf_init(&lines);
        if (remedy_lines(f, (enum product)p, &lines))
            json_array_append_new(
                list, json_pack("{s:s, s:o}", "at", at, "lines", json_lines(&lines)));
        buf_fini(&lines);
    }
    return list;
}

static json_t *json_measured(const struct checkup *c)
{
    const struct answer *a = &c->first.answer;
    struct pace p = pace_of(&c->first.stream, a, c->options->every_ms);
    char front[220];

    product_of(a, front, sizeof(front));
    json_t *m = json_pack(
        "{s:i, s:s, s:s*, s:o, s:f, s:f, s:I, s:I, s:I, s:I}", "status", a->status,
        "http", http_name(a->http), "httpToBridge",
        stream_hello_text(&c->first.stream, "http"), "front", json_words(front),
        "connectedMs", ms(a->connected_us), "firstByteMs", ms(a->first_us), "pieces",
        (json_int_t)p.pieces, "heaps", (json_int_t)p.heaps, "delayMedianMs",
        (json_int_t)p.late_median_ms, "delayMaxMs", (json_int_t)p.late_max_ms);
    if (m)
        json_object_set_new(m, "http3Offered", json_boolean(offers_http3(a)));
    if (m && c->quiet.made)
        json_object_update_new(m, json_pack("{s:I, s:b, s:f, s:b, s:I, s:I}", "idleMs",
                                            (json_int_t)c->idle_ms, "idleHeld",
                                            c->quiet.stream.ended, "idleEndedMs",
                                            ms(c->quiet.answer.ended_us), "keptHeld",
                                            c->kept.stream.ended, "keepalivesSent",
                                            (json_int_t)c->keepalives, "keepalivesCame",
                                            (json_int_t)c->kept.stream.keepalives));
    if (m && json_object_get(c->bearer.stream.hello, "seen"))
        json_object_set(m, "seen", json_object_get(c->bearer.stream.hello, "seen"));
    return m;
}

bool report_json(const struct checkup *c, const struct diagnosis *d, struct buf *out)
{
    json_t *findings = json_array(), *notes = json_array();
    struct buf url;

    buf_init(&url);
    buf_printf(&url, "%s%s", c->place.origin, c->place.path);
    for (size_t i = 0; i < d->count; i++) {
        const struct finding *f = &d->findings[i];
        json_array_append_new(
            findings, json_pack("{s:s, s:s, s:o, s:o}", "code", trouble_word(f->trouble),
                                "title", trouble_title(f->trouble), "what",
                                json_words(f->what), "change", json_changes(f)));
    }
    for (size_t i = 0; i < d->note_count; i++)
        json_array_append_new(notes, json_words(d->notes[i]));
    json_t *all =
        json_pack("{s:o, s:i, s:o*, s:o, s:o, s:o}", "url",
                  json_words(url.data ? url.data : ""), "status", report_status(d),
                  "whyNot", d->why_not[0] ? json_words(d->why_not) : NULL, "findings",
                  findings, "notes", notes, "measured", json_measured(c));
    char *text = all ? json_text(all, JSON_INDENT(2)) : NULL;
    if (text)
        buf_printf(out, "%s\n", text);
    free(text);
    json_decref(all);
    buf_fini(&url);
    return text && !out->failed;
}
