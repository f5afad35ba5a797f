/* options: see options.h. A token comes from a file or the environment: a command line is
 * for everybody to see. */
#include "cli/options.h"

#include "common/buf.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX 8192

static const char help[] =
    "Usage: threadcast doctor <address> [options]\n"
    "\n"
    "Asks a Threadcast bridge for a stream made for this, through whatever stands in\n"
    "between, and says what that does to it and what to change: text that is held back,\n"
    "compression, HTTP/1.0, idle limits, lost keepalives and headers, redirects, "
    "sign-in\n"
    "pages, TLS, limits of streams, a wrong path, a bridge that is too old, clocks.\n"
    "\n"
    "<address> is what the page uses: https://chat.example, or with the bridge's path,\n"
    "https://chat.example/live. Run it from where the users are. To see which of "
    "several\n"
    "proxies it is, run it behind each of them, at last on the bridge's own machine.\n"
    "\n"
    "  --idle-s <s>       how long a stream is left silent, to find limits of silence;\n"
    "                     0: not at all. Otherwise a little more than the interval of\n"
    "                     the bridge's keepalives: 20 s with its default. Decides how\n"
    "                     long this takes.\n"
    "  --streams <n>      how many are opened at once, 2 to 20 (7: one more than\n"
    "                     browsers open to a host over HTTP/1.1)\n"
    "  --header <h>       a request header, \"Name: value\", for what stands in front;\n"
    "                     up to 16 times\n"
    "  --token-file <f>   a token with the right `probe` (threadcast-bridge token\n"
    "                     --sub me --probe): says also whom the bridge takes you for.\n"
    "                     Or the variable THREADCAST_TOKEN\n"
    "  --ca-file <f>      certificates that may sign the server's (PEM)\n"
    "  --insecure         take any certificate\n"
    "  --timeout-s <s>    to connect, and for an answer that is late (10)\n"
    "  --events <n>       pieces of the stream that is measured, 4 to 100 (12)\n"
    "  --every-ms <ms>    the time between two of them, 20 to 1000 (100)\n"
    "  --all              what to change at every kind of proxy, not only at the one\n"
    "                     that was recognised\n"
    "  --json             the result for programs\n"
    "\n"
    "Exit status: 0 nothing to change; 1 there is something to change; 2 it could not "
    "be\n"
    "found out (no such address, no connection, a bridge that is busy; a wrong option).\n"
    "\n"
    "Nothing is changed anywhere. A bridge may have this turned off (--max-probes 0), "
    "and\n"
    "takes part in so many probes a minute (--probes-per-min).\n";

enum {
    WANT_IDLE = 256,
    WANT_STREAMS,
    WANT_HEADER,
    WANT_TOKEN,
    WANT_CA,
    WANT_INSECURE,
    WANT_TIMEOUT,
    WANT_EVENTS,
    WANT_EVERY,
    WANT_ALL,
    WANT_JSON
};

static const struct option names[] = {
    {"idle-s", required_argument, NULL, WANT_IDLE},
    {"streams", required_argument, NULL, WANT_STREAMS},
    {"header", required_argument, NULL, WANT_HEADER},
    {"token-file", required_argument, NULL, WANT_TOKEN},
    {"ca-file", required_argument, NULL, WANT_CA},
    {"insecure", no_argument, NULL, WANT_INSECURE},
    {"timeout-s", required_argument, NULL, WANT_TIMEOUT},
    {"events", required_argument, NULL, WANT_EVENTS},
    {"every-ms", required_argument, NULL, WANT_EVERY},
    {"all", no_argument, NULL, WANT_ALL},
    {"json", no_argument, NULL, WANT_JSON},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static bool bad(const char *why, const char *value)
{
    fprintf(stderr, "threadcast doctor: %s%s%s\n", why, value ? ": " : "",
            value ? value : "");
    return false;
}

static bool number(const char *text, const char *name, int64_t min, int64_t max,
                   int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(text, &end, 10);
    if (!errno && end != text && !*end && *ret >= min && *ret <= max)
        return true;
    fprintf(stderr, "threadcast doctor: --%s is a number from %lld to %lld\n", name,
            (long long)min, (long long)max);
    return false;
}

/* Seconds, with a fraction if you like. */
static bool seconds(const char *text, const char *name, double max, int64_t *ret_ms)
{
    char *end;
    double s = strtod(text, &end);

    if (end != text && !*end && s >= 0 && s <= max) {
        *ret_ms = (int64_t)(s * 1000);
        return true;
    }
    fprintf(stderr, "threadcast doctor: --%s is 0 to %.0f seconds\n", name, max);
    return false;
}

static bool header(const char *text, struct options *o)
{
    const char *colon = strchr(text, ':');

    if (!colon || colon == text || strpbrk(text, "\r\n"))
        return bad("--header is \"Name: value\"", NULL);
    if (o->header_count == OPTIONS_HEADERS_MAX)
        return bad("--header may be given 16 times", NULL);
    o->headers[o->header_count++] = text;
    return true;
}

static bool take_token(const char *text, size_t len, struct options *o)
{
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return bad("the token has blanks or control characters in it", NULL);
    if (!len || len > TOKEN_MAX)
        return bad("the token is empty or too long", NULL);
    free(o->token);
    o->token = strndup(text, len);
    return o->token || bad("out of memory", NULL);
}

static bool token_file(const char *path, struct options *o)
{
    char text[TOKEN_MAX + 2];
    FILE *f = fopen(path, "re");
    size_t len;

    if (!f)
        return bad(path, strerror(errno));
    len = fread(text, 1, sizeof(text), f);
    fclose(f);
    return take_token(text, len, o);
}

/* One option. */
static bool take(int which, const char *value, struct options *o)
{
    switch (which) {
    case WANT_IDLE:
        return seconds(value, "idle-s", 3000, &o->idle_ms);
    case WANT_STREAMS:
        return number(value, "streams", 2, 20, &o->streams);
    case WANT_HEADER:
        return header(value, o);
    case WANT_TOKEN:
        return token_file(value, o);
    case WANT_CA:
        o->ca_file = value;
        return true;
    case WANT_INSECURE:
        return o->insecure = true;
    case WANT_TIMEOUT:
        return seconds(value, "timeout-s", 600, &o->timeout_ms);
    case WANT_EVENTS:
        return number(value, "events", 4, 100, &o->events);
    case WANT_EVERY:
        return number(value, "every-ms", 20, 1000, &o->every_ms);
    case WANT_ALL:
        return o->all = true;
    case WANT_JSON:
        return o->json = true;
    }
    return false; /* getopt has said why */
}

enum options_result options_read(int argc, char **argv, struct options *ret)
{
    const char *token = getenv("THREADCAST_TOKEN");
    int which;

    *ret = (struct options){
        .idle_ms = -1, .events = 12, .every_ms = 100, .streams = 7, .timeout_ms = 10000};
    if (token && *token && !take_token(token, strlen(token), ret))
        return OPTIONS_BAD;
    while ((which = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (which == 'h') {
            fputs(help, stdout);
            return OPTIONS_DONE;
        }
        if (!take(which, optarg, ret))
            return OPTIONS_BAD;
    }
    if (optind + 1 != argc) {
        bad("say one address: threadcast doctor https://chat.example (--help)", NULL);
        return OPTIONS_BAD;
    }
    ret->url = argv[optind];
    if (ret->timeout_ms >= 100)
        return OPTIONS_RUN;
    bad("--timeout-s is at least 0.1", NULL);
    return OPTIONS_BAD;
}

void options_fini(struct options *o)
{
    free(o->token);
    o->token = NULL;
}
