/* diagnose: what is wrong with the way to the bridge, from what a checkup has seen. Pure:
 * the same checkup has the same diagnosis. */
#ifndef THREADCAST_CLI_DIAGNOSE_H
#define THREADCAST_CLI_DIAGNOSE_H

#include "cli/checkup.h"

#include <stdbool.h>
#include <stddef.h>

#define DIAGNOSIS_MAX 24 /* more than there are kinds that can be found together */

/* What there is to change; trouble_word names it for programs. */
enum trouble {
    /* there is no stream */
    TROUBLE_TLS,
    TROUBLE_REDIRECT,
    TROUBLE_SIGN_IN,
    TROUBLE_PAGE,
    TROUBLE_NO_BRIDGE,
    TROUBLE_WRONG_PATH,
    TROUBLE_TOO_OLD,
    TROUBLE_HOST,
    TROUBLE_RATE,
    TROUBLE_NO_STREAM,
    /* there is one, and something happens to it */
    TROUBLE_BUFFERING,
    TROUBLE_COMPRESSION,
    TROUBLE_HTTP10,
    TROUBLE_IDLE,
    TROUBLE_TIME_LIMIT,
    TROUBLE_KEEPALIVES,
    TROUBLE_CUT,
    TROUBLE_REQUEST_HEADERS,
    TROUBLE_CONTENT_TYPE,
    TROUBLE_CACHE,
    TROUBLE_STREAMS,
    TROUBLE_ORIGIN,
    TROUBLE_POST,
    TROUBLE_TOKEN,
    TROUBLE_ADDRESS,
    TROUBLE_CERTIFICATE,
    TROUBLE_CLOCK,
    TROUBLES,
};

struct finding {
    enum trouble trouble;
    char what[400]; /* in words */
    char word[820]; /* what goes into the lines of remedy.c: a name, a number */
};

struct diagnosis {
    char why_not[400]; /* it could not be found out; "": it could */
    struct finding findings[DIAGNOSIS_MAX];
    size_t count;
    char notes[DIAGNOSIS_MAX][300]; /* good to know, nothing to change */
    size_t note_count;
};

void diagnose(const struct checkup *c, struct diagnosis *ret);
const char *trouble_word(enum trouble t);  /* "buffering": stable */
const char *trouble_title(enum trouble t); /* a sentence */

/* For diagnose_*.c. */
struct finding *diagnosis_add(struct diagnosis *d, enum trouble t, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void diagnosis_note(struct diagnosis *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* There is no stream: why? (diagnose_door.c) */
void diagnose_door(const struct checkup *c, struct diagnosis *d);
/* What the streams show. (diagnose_stream.c) */
void diagnose_stream(const struct checkup *c, struct diagnosis *d);

#endif
