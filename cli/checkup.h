/* checkup: what the doctor asked for, and what came. Filled by checkup_run, read by
 * diagnose.c; nothing in it is a judgement. */
#ifndef THREADCAST_CLI_CHECKUP_H
#define THREADCAST_CLI_CHECKUP_H

#include "cli/options.h"
#include "cli/stream.h"
#include "cli/transfer.h"

#define CHECKUP_MORE_MAX 18

/* One request and its answer. */
struct visit {
    bool made;
    struct answer answer;
    struct stream stream;
};

struct checkup {
    const struct options *options; /* borrowed */
    struct place place;
    char event_id[32]; /* the Last-Event-ID that was sent */
    /* the pace: as a browser asks; the same once more, and without compression, and with
     * much text, when that one was held back */
    struct visit first, again, plain, blocks;
    /* what else has to pass: Authorization, a page's POST */
    struct visit bearer, post;
    /* all open at once: one that is silent, one with keepalives alone, short ones */
    struct visit quiet, kept, more[CHECKUP_MORE_MAX];
    size_t more_count;
    int64_t idle_ms;                  /* of `quiet`; 0: it was left out */
    int64_t keepalives, keepalive_ms; /* of `kept` */
    int64_t short_ms;                 /* of `more` */
    /* when there was no stream: is it a bridge at all, or is one somewhere else? */
    struct visit health, events, elsewhere;
    char elsewhere_path[512];
};

/* Asks for all of it: some seconds. false: no memory. */
bool checkup_run(struct checkup *c, const struct options *o, const struct place *place);
void checkup_fini(struct checkup *c);

#endif
