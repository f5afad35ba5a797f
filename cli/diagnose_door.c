/* diagnose_door: who answered when no stream came, by status, kind and text. A refusal of
 * a bridge's own is JSON with a code; everything else was said by somebody in front. */
#include "cli/diagnose.h"

#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The code of a bridge's refusal; "": this is none. */
static void error_code(const struct visit *v, char *out, size_t size)
{
    const struct buf *body = &v->answer.body;
    json_t *value = json_read(body->data, body->len, 0, NULL);
    const char *code =
        json_string_value(json_object_get(json_object_get(value, "error"), "code"));

    snprintf(out, size, "%s", code ? code : "");
    json_decref(value);
}

static bool says(const struct visit *v, const char *const *words)
{
    for (; v->answer.body.data && *words; words++)
        if (strcasestr(v->answer.body.data, *words))
            return true;
    return false;
}

static bool is_html(const struct visit *v)
{
    static const char *const words[] = {"<html", "<!doctype", NULL};
    char type[100];

    return (answer_header(&v->answer, "Content-Type", type, sizeof(type)) &&
            strncasecmp(type, "text/html", 9) == 0) ||
           says(v, words);
}

static bool wants_sign_in(const struct visit *v)
{
    static const char *const words[] = {"type=\"password\"", "sign in", "log in", "login",
                                        NULL};
    return is_html(v) && says(v, words);
}

/* --- no answer at all --------------------------------------------------------------- */

static void no_answer(const struct checkup *c, struct diagnosis *d)
{
    const struct answer *a = &c->first.answer;

    switch (a->end) {
    case TRANSFER_TLS:
        diagnosis_add(d, TROUBLE_TLS, "%s.", a->why);
        return;
    case TRANSFER_NO_NAME:
    case TRANSFER_NO_CONNECTION:
    case TRANSFER_TIMEOUT:
    case TRANSFER_ODD:
    case TRANSFER_CUT:
    case TRANSFER_WHOLE:
        break;
    }
    snprintf(d->why_not, sizeof(d->why_not), "%s%s", a->why,
             a->end == TRANSFER_TIMEOUT && a->connected_us > 0
                 ? " (the connection stands, but nobody answers)"
                 : "");
}

/* --- an answer of somebody in front ------------------------------------------------- */

static bool is_sign_in_place(const char *location)
{
    static const char *const words[] = {"login", "signin", "sign-in", "sign_in",
                                        "oauth", "auth/",  "sso",     NULL};

    for (size_t i = 0; words[i]; i++)
        if (strcasestr(location, words[i]))
            return true;
    return false;
}

static void redirected(const struct checkup *c, struct diagnosis *d)
{
    char to[300];

    answer_header(&c->first.answer, "Location", to, sizeof(to));
    if (is_sign_in_place(to)) {
        diagnosis_add(d, TROUBLE_SIGN_IN, "%d, and on to %s.", c->first.answer.status,
                      to);
        return;
    }
    struct finding *f = diagnosis_add(d, TROUBLE_REDIRECT,
                                      "%d, on to %s. EventSource follows that anew at "
                                      "each reconnect, and a POST becomes "
                                      "a GET or is refused.",
                                      c->first.answer.status, *to ? to : "nowhere");
    char *route = strstr(to, "/v1/");
    if (route)
        *route = '\0';
    snprintf(f->word, sizeof(f->word), "%s", to);
}

static void not_found(const struct checkup *c, struct diagnosis *d)
{
    const char *path = c->place.path[0] ? c->place.path : "/";

    struct finding *f = diagnosis_add(
        d, TROUBLE_WRONG_PATH,
        c->elsewhere.stream.hello
            ? "There is nothing below %s, but a bridge answers below %s."
            : "404 below %s, and not from a bridge: the path is not passed on.%s",
        path,
        c->elsewhere.stream.hello ? *c->elsewhere_path ? c->elsewhere_path : "/" : "");
    snprintf(f->word, sizeof(f->word), "%s%s", c->place.origin, c->elsewhere_path);
}

static void other_answer(const struct checkup *c, struct diagnosis *d)
{
    const struct visit *v = &c->first;
    int status = v->answer.status;
    char text[100] = "";

    if (status >= 300 && status < 400) {
        redirected(c, d);
    } else if (status == 401 || status == 407 || wants_sign_in(v)) {
        answer_header(&v->answer, "WWW-Authenticate", text, sizeof(text));
        diagnosis_add(d, TROUBLE_SIGN_IN, "%d%s%s%s, and not from a bridge.", status,
                      *text ? " with " : "", text,
                      is_html(v) ? ", a page that asks who you are" : "");
    } else if (status == 403) {
        diagnosis_add(d, TROUBLE_SIGN_IN, "403, and not from a bridge.");
    } else if (status == 404) {
        not_found(c, d);
    } else if (status == 429) {
        diagnosis_add(d, TROUBLE_RATE, "429 for the very first request.");
    } else if (status >= 502 && status <= 504) {
        diagnosis_add(d, TROUBLE_NO_BRIDGE, "%d from what stands in front.", status);
    } else if (is_html(v)) {
        diagnosis_add(d, TROUBLE_PAGE,
                      "%d with an HTML page: another application has this path.", status);
    } else {
        answer_header(&v->answer, "Content-Type", text, sizeof(text));
        diagnosis_add(d, TROUBLE_NO_STREAM, "%d, %s, %zu bytes.", status,
                      *text ? text : "without a Content-Type", v->answer.body.len);
    }
}

/* --- an answer of the bridge -------------------------------------------------------- */

static bool is_bridge_health(const struct visit *v)
{
    return v->answer.status == 200 && v->answer.body.len == 3 &&
           memcmp(v->answer.body.data, "ok\n", 3) == 0;
}

/* A bridge that does not know the route: has it another path, or is it too old? */
static void bridge_not_found(const struct checkup *c, struct diagnosis *d)
{
    char code[64];

    error_code(&c->events, code, sizeof(code));
    if (*code && strcmp(code, "not_found") != 0) {
        diagnosis_add(d, TROUBLE_TOO_OLD,
                      "It is a bridge (/v1/events answers), but it has "
                      "no /v1/probe.");
        return;
    }
    if (c->elsewhere.stream.hello) {
        not_found(c, d);
        return;
    }
    diagnosis_add(
        d, TROUBLE_WRONG_PATH,
        "A bridge answers%s, but has nothing below %s: it is served below a path "
        "(--base-path) that this address does not have.",
        is_bridge_health(&c->health) ? " (/healthz says ok)" : "",
        c->place.path[0] ? c->place.path : "/");
}

static void bridge_refused(const struct checkup *c, const char *code, struct diagnosis *d)
{
    int status = c->first.answer.status;

    if (strcmp(code, "not_found") == 0)
        bridge_not_found(c, d);
    else if (strcmp(code, "host_not_allowed") == 0)
        diagnosis_add(d, TROUBLE_HOST,
                      "It runs without authentication (--auth none), for this machine "
                      "alone, and what came to it as Host was another name.");
    else if (strcmp(code, "bad_probe") == 0)
        snprintf(
            d->why_not, sizeof(d->why_not),
            "the bridge refuses so long a probe (--probe-max-ms): fewer --events, or "
            "a shorter --every-ms");
    else
        snprintf(d->why_not, sizeof(d->why_not), "the bridge answers %d %s", status,
                 code);
}

/* A stream of a bridge, but not what was asked for. */
static void bridge_stream(const struct checkup *c, struct diagnosis *d)
{
    const struct stream *s = &c->first.stream;
    const struct answer *a = &c->first.answer;

    if (strstr(s->busy, "probes"))
        snprintf(d->why_not, sizeof(d->why_not),
                 "the bridge says: %s; try again in a minute (--max-probes, "
                 "--probes-per-min)",
                 s->busy);
    else if (strstr(s->busy, "streams"))
        diagnosis_add(d, TROUBLE_STREAMS, "The bridge says: %s.", s->busy);
    else if (*s->busy || s->bye)
        snprintf(d->why_not, sizeof(d->why_not), "the bridge says: %s; try again",
                 *s->busy ? s->busy : "it is going away");
    else
        diagnosis_add(d, TROUBLE_CUT,
                      "It ended after %.1f s, before its first event%s%s.",
                      (double)a->ended_us / 1e6, a->why[0] ? ": " : "", a->why);
}

void diagnose_door(const struct checkup *c, struct diagnosis *d)
{
    char code[64];

    if (!c->first.answer.status) {
        no_answer(c, d);
        return;
    }
    error_code(&c->first, code, sizeof(code));
    if (c->first.stream.greeted)
        bridge_stream(c, d);
    else if (*code)
        bridge_refused(c, code, d);
    else
        other_answer(c, d);
}
