/* diagnose: see diagnose.h. diagnose_door.c looks at what answers instead of a stream,
 * diagnose_stream.c at what happens to one. */
#include "cli/diagnose.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const words[TROUBLES][2] = {
    [TROUBLE_TLS] = {"tls", "No secure connection comes about"},
    [TROUBLE_REDIRECT] = {"redirect", "The address leads somewhere else"},
    [TROUBLE_SIGN_IN] = {"sign_in", "Somebody in front wants a sign-in of his own"},
    [TROUBLE_PAGE] = {"page", "A page answers in place of the bridge"},
    [TROUBLE_NO_BRIDGE] = {"no_bridge", "The proxy finds no bridge behind it"},
    [TROUBLE_WRONG_PATH] = {"wrong_path", "The path is not the bridge's"},
    [TROUBLE_TOO_OLD] = {"too_old", "The bridge is too old for this, or has it off"},
    [TROUBLE_HOST] = {"host", "The bridge does not go by this name"},
    [TROUBLE_RATE] = {"rate_limit", "Something in front limits requests"},
    [TROUBLE_NO_STREAM] = {"no_stream", "What answers is no stream"},
    [TROUBLE_BUFFERING] = {"buffering", "Text is held back on the way"},
    [TROUBLE_COMPRESSION] = {"compression", "Compression holds text back"},
    [TROUBLE_HTTP10] = {"http10", "HTTP/1.0 is spoken on the way"},
    [TROUBLE_IDLE] = {"idle_limit", "A silent stream is cut before the next keepalive"},
    [TROUBLE_TIME_LIMIT] = {"time_limit", "A stream is cut while it speaks"},
    [TROUBLE_KEEPALIVES] = {"keepalives", "Keepalives get lost"},
    [TROUBLE_CUT] = {"cut", "A stream was cut"},
    [TROUBLE_REQUEST_HEADERS] = {"request_headers", "Request headers do not arrive"},
    [TROUBLE_CONTENT_TYPE] = {"content_type", "The stream's Content-Type was changed"},
    [TROUBLE_CACHE] = {"cache", "The stream may be cached on the way"},
    [TROUBLE_STREAMS] = {"streams", "Not so many streams can be open at once"},
    [TROUBLE_ORIGIN] = {"origin", "The bridge refuses what its own page sends"},
    [TROUBLE_POST] = {"post", "POST does not reach the bridge"},
    [TROUBLE_TOKEN] = {"token", "The bridge refuses the token"},
    [TROUBLE_ADDRESS] = {"address", "All visitors look like one to the bridge"},
    [TROUBLE_CERTIFICATE] = {"certificate", "The certificate ends soon"},
    [TROUBLE_CLOCK] = {"clock", "The clocks differ"},
};

const char *trouble_word(enum trouble t)
{
    return words[t][0];
}

const char *trouble_title(enum trouble t)
{
    return words[t][1];
}

struct finding *diagnosis_add(struct diagnosis *d, enum trouble t, const char *fmt, ...)
{
    struct finding *f = &d->findings[d->count];
    va_list args;

    if (d->count < DIAGNOSIS_MAX - 1) /* the last place is overwritten */
        d->count++;
    *f = (struct finding){.trouble = t};
    va_start(args, fmt);
    vsnprintf(f->what, sizeof(f->what), fmt, args);
    va_end(args);
    return f;
}

void diagnosis_note(struct diagnosis *d, const char *fmt, ...)
{
    va_list args;

    if (d->note_count == DIAGNOSIS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(d->notes[d->note_count++], sizeof(d->notes[0]), fmt, args);
    va_end(args);
}

void diagnose(const struct checkup *c, struct diagnosis *ret)
{
    *ret = (struct diagnosis){.count = 0};
    if (c->first.stream.hello)
        diagnose_stream(c, ret);
    else
        diagnose_door(c, ret);
}
