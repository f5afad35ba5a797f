/* agent: what a run asks of whoever makes the answer, and how that one answers.
 *
 *     run ── start, pause, resume, release ──▶ agent
 *     run ◀── run_on_token, run_on_delta, run_on_status, run_on_done, … ── agent
 *
 * An agent knows nothing of Redis, Postgres, numbers or attempts. */
#ifndef THREADCAST_WORKER_AGENT_H
#define THREADCAST_WORKER_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent; /* one that works on one run; each kind has its own */
struct agent_stats;
struct agent_def;
struct buf;
struct run;
struct trace;
struct worker;

/* What there is to be answered. Borrowed for the time of start. */
struct agent_input {
    const char *run_id, *thread_id, *agent_id;
    const char *reply_id; /* the answer's message id */
    int64_t attempt;
    const char *message_id, *content;
    const char *metadata; /* JSON object */
    const char *input;    /* JSON, or NULL */
    const struct trace *trace;
    const char *history; /* JSON array of the messages before, or NULL: not asked for */
};

struct agent_kind {
    const char *name;
    bool needs_history;
    /* The member of its options that stands behind `<kind>:` in --agent and --agents;
     * NULL: nothing may stand there. */
    const char *shorthand;
    /* Reads this kind's members of an agent: the text of a JSON object without `kind` and
     * `description`. Returns new, or NULL with `<member>: <reason>` in `err`. Says
     * nothing of values, they may be secret. NULL: the kind has no options. */
    void *(*options_new)(const char *json, size_t len, struct buf *err);
    void (*options_free)(void *options);
    /* Returns new, or NULL when it could not start (`why` is then a short text that is
     * safe to show). May call run_on_* before it returns. `def` is borrowed; who keeps it
     * after `release` takes a reference. */
    struct agent *(*start)(struct worker *w, const struct agent_def *def, struct run *r,
                           const struct agent_input *in, const char **why);
    void (*pause)(struct agent *a); /* stop calling run_on_token for a while */
    void (*resume)(struct agent *a);
    /* The run wants nothing more of it: no run_on_* after this. It ends what it started
     * and frees itself, now or when that has gone. */
    void (*release)(struct agent *a);
};

/* An agent that messages may name. It stays as it is while a run uses it, whatever the
 * operator's file says meanwhile. */
struct agent_def {
    char *name; /* what events carry as agentId */
    const struct agent_kind *kind;
    char *description;         /* one line for people, or NULL */
    void *options;             /* the kind's; NULL: it has none */
    struct agent_stats *stats; /* goes over to the next one of this name */
    int refs;
};

const struct agent_def *agent_def_ref(const struct agent_def *def);
void agent_def_unref(const struct agent_def *def); /* NULL is fine */

/* Pieces of the answer: any bytes, a character may be split between two pieces. */
void run_on_token(struct run *r, const char *text, size_t len);
/* `json`: a checked JSON object with a string member `kind`; the caller says which. */
void run_on_delta(struct run *r, const char *kind, const char *json, size_t len);
void run_on_reasoning(struct run *r, const char *text, size_t len);
/* `json`: a checked JSON object with a string member `status`. */
void run_on_status(struct run *r, const char *json, size_t len);
/* It asks somebody again, before it has said anything: for the figures. */
void run_on_retry(struct run *r);
/* The end. finish_reason: a word; usage_json: an object or NULL. The agent is released
 * afterwards, at the end of the turn. */
void run_on_done(struct run *r, const char *finish_reason, const char *usage_json);
/* message: safe to show. retryable: the run is tried again after a pause, unless it was
 * tried too often. */
void run_on_error(struct run *r, const char *code, const char *message, bool retryable);

#endif
