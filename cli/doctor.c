/* doctor: options ─▶ checkup ─▶ diagnosis ─▶ report. */
#include "cli/doctor.h"

#include "cli/checkup.h"
#include "cli/diagnose.h"
#include "cli/options.h"
#include "cli/report.h"

#include <stdio.h>
#include <stdlib.h>

enum { COULD_NOT = 2 };

static int fail(const char *why)
{
    fprintf(stderr, "threadcast doctor: %s\n", why);
    return COULD_NOT;
}

static int report(const struct checkup *c, const struct diagnosis *d)
{
    struct buf out;
    bool ok = true;
    int status;

    buf_init(&out);
    if (c->options->json)
        ok = report_json(c, d, &out);
    else
        report_text(c, d, &out);
    ok = ok && !out.failed;
    if (ok)
        fputs(out.data, stdout);
    status = ok ? report_status(d) : fail("out of memory");
    buf_fini(&out);
    return status;
}

static int examine(const struct options *o)
{
    struct place place;
    struct buf err;
    int status = COULD_NOT;

    buf_init(&err);
    if (!place_parse(o->url, &place, &err)) {
        fail(err.data ? err.data : "out of memory");
        buf_fini(&err);
        return COULD_NOT;
    }
    buf_fini(&err);
    struct checkup *c = calloc(1, sizeof(*c));
    struct diagnosis *d = calloc(1, sizeof(*d));
    if (c && d && checkup_run(c, o, &place)) {
        diagnose(c, d);
        status = report(c, d);
    } else {
        fail("out of memory");
    }
    if (c)
        checkup_fini(c);
    free(c);
    free(d);
    return status;
}

int doctor_command(int argc, char **argv)
{
    struct options options;
    int status = COULD_NOT;

    switch (options_read(argc, argv, &options)) {
    case OPTIONS_RUN:
        status = examine(&options);
        break;
    case OPTIONS_DONE:
        status = 0;
        break;
    case OPTIONS_BAD:
        break;
    }
    options_fini(&options);
    return status;
}
