/* What the files of a run share: run.c (its life), run_said.c (the agent's callbacks),
 * run_publish.c (Redis), run_end.c (Postgres, the end), run_retry.c (another attempt).
 * Nobody else includes it. */
#ifndef THREADCAST_WORKER_RUN_INTERNAL_H
#define THREADCAST_WORKER_RUN_INTERNAL_H

#include "common/buf.h"
#include "common/event.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/names.h"
#include "common/trace.h"
#include "worker/figures.h"
#include "worker/fold.h"
#include "worker/pending.h"
#include "worker/publisher.h"
#include "worker/run.h"
#include "worker/worker.h"

struct agent;
struct agent_def;

enum run_state { RUN_STARTING, RUN_GOING, RUN_ENDING, RUN_CLOSING, RUN_OVER };

/* The call that is under way. */
struct run_call {
    struct publish_call *handle; /* NULL: none */
    enum publish_mode mode;
    size_t events, bytes;
    bool has_token;
    int64_t started_us;
};

/* How it ends. */
struct run_end {
    const char *status;   /* done, failed, cancelled */
    enum event_type type; /* EVENT_DONE or EVENT_ERROR */
    struct buf content;   /* of that event */
    char *finish_reason, *usage;
    struct buf stats;
    int64_t ts_ms, seq;
    bool anew;     /* Redis lost the run meanwhile: publish it folded, with its end */
    bool plain;    /* Postgres did not take the metadata: without it */
    bool retry;    /* the agent says that another attempt may help: back into the queue */
    bool asked;    /* Postgres was told so, and its answer is not here */
    bool requeued; /* it is there: this attempt says so, and that is all */
};

struct run {
    struct list node;  /* worker->run_list */
    struct list chore; /* worker->dirty or worker->over */
    struct worker *w;
    enum run_state state;
    int waits; /* statements whose callback still has this pointer */

    char id[UUID_SIZE], message_id[UUID_SIZE], reply_id[UUID_SIZE];
    char thread_id[THREAD_ID_MAX + 1];
    char agent_id[65];
    struct event_run names; /* what stands on every event */
    int64_t claimed_us;

    const struct agent_def *def;
    struct agent *agent;
    char *content, *metadata, *input; /* what is asked; metadata and input are JSON */
    struct trace trace;               /* of the request that asked */
    bool paused;
    struct timer *timeout, *again; /* the whole run; asking Postgres again */
    struct backoff backoff;

    /* what was made */
    struct figures figures;
    struct fold fold;
    struct pending pending;
    char tail[4]; /* beginning of a character whose rest has not come */
    size_t tail_len, made_bytes;

    /* what of it is published */
    struct run_call call;
    struct timer *flush;
    unsigned lane;
    int64_t number; /* of the first event that waits */
    bool begun;     /* Redis has it, begun by this attempt */
    bool asking;    /* whether it is still ours */
    bool renewing;  /* the question is under way */
    bool token_seen;
    int64_t text_ms; /* when text was sent last; 0: never */
    uint64_t events, said;
    struct event_id began, last;
    size_t since_bytes, begin_bytes, begin_events; /* since it began */

    struct run_end end;
};

/* run.c */
void run_dirty(struct run *r);     /* has something for the end of the turn */
void run_over(struct run *r);      /* leaves everything but its memory */
void run_wait_done(struct run *r); /* in a statement's callback, first */

/* run_said.c */
void run_settle_text(struct run *r); /* a split character will not be completed */
/* Ends it, whatever the agent does: no other attempt is made. */
void run_fail(struct run *r, const char *code, const char *message, bool retryable);
void run_finish_cancelled(struct run *r);

/* run_publish.c */
void run_publish(struct run *r); /* what waits, if it may go now */
void run_on_flush(void *arg);    /* the flush timer */
void run_begin_anew(struct run *r);
size_t run_unpublished(const struct run *r); /* bytes */

/* run_end.c: content is the JSON of the last event */
void run_finish(struct run *r, const char *status, enum event_type type,
                const char *finish_reason, const char *usage, struct buf *content);
void run_end_pour(struct run *r, bool anew); /* the end joins what waits */
void run_end_published(struct run *r);
void run_end_again(struct run *r); /* Postgres has to be asked once more */
void run_retry(struct run *r);     /* the same, of a run to be tried again */
/* The next attempt of it is here: it was in the queue, or our own lease had passed. */
void run_claimed_anew(struct run *r);
void run_end_free(struct run_end *e);

#endif
