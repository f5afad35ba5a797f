/* intake: LISTEN on a connection of its own; claims, renewals and the poll over the pool.
 *
 *   NOTIFY, poll, a lease's end, a free place, Redis is back ─▶ claim ─▶ run_start
 *
 * It must never claim while Redis cannot be published to, or more than there is room
 * for: what it leaves, another worker takes. */
#include "worker/intake.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "common/pg_hear.h"
#include "worker/conf.h"
#include "worker/killpoint.h"
#include "worker/publisher.h"
#include "worker/queued.h"
#include "worker/run.h"
#include "worker/store.h"
#include "worker/sweep.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLAIM_BATCH = 32,
    EXPIRED_AFTER_MS = 2 * WORKER_PG_BACKOFF_MS,
    RENEW_AGAIN_MS = 200
};

struct intake {
    struct worker *w;
    struct pg *listen;
    struct pg_hear *hear;
    struct timer *poll, *renew, *lease;
    bool claiming, again; /* a claim is under way; another is wanted after it */
    bool unsure; /* the answer to a claim was lost: we may hold runs unknowingly */
    bool renewing, asking_lease;
    bool stopped, said_ready, said_error;
    size_t asked;
    int64_t expired_from_ms; /* others' runs are not taken over before */
    int64_t renewed_ms;      /* Postgres last said that what we have is ours */
    bool tell;               /* readers of runs that still wait after the next claim */
    bool lease_ended;        /* the claim under way may have ended a run for good */
};

static void renew(struct intake *in);

/* --- claims ----------------------------------------------------------------------- */

static size_t room(const struct intake *in)
{
    size_t max = (size_t)in->w->conf->concurrency, live = worker_live_runs(in->w);

    return live < max ? max - live : 0;
}

static void claim_failed(struct intake *in, enum pg_outcome outcome,
                         const struct pg_error *err)
{
    in->w->stats.claim_errors++;
    in->unsure |= outcome == PG_LOST;
    if (outcome != PG_FAILED || in->said_error)
        return;
    in->said_error = true;
    /* 42883, 42P01, 3F000: no such function, table, schema */
    log_error("claiming fails", LOG_S("sqlstate", err->sqlstate),
              LOG_S("why", err->message),
              LOG_S("hint", strncmp(err->sqlstate, "42", 2) == 0
                                ? "run threadcast-worker migrate"
                                : ""));
}

/* Only when no claim is to be expected that it could get in the way of. */
static void tell_waiting(struct intake *in)
{
    if (in->tell)
        queued_look(in->w->queued);
    in->tell = false;
}

static void on_claimed(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct intake *in = arg;
    struct worker *w = in->w;
    size_t got = 0;

    KILL_POINT("claim-answered");
    in->claiming = false;
    if (outcome != PG_OK) {
        claim_failed(in, outcome, err);
        in->again = false; /* the poll tries again */
        return;
    }
    in->said_error = false;
    if (worker_live_runs(w) == 0)
        in->renewed_ms = clock_ms();
    if (!in->said_ready) {
        in->said_ready = true;
        log_info("ready", LOG_S("instance", w->instance));
    }
    got = (size_t)pg_rows(res);
    for (int i = 0; i < pg_rows(res); i++) {
        w->stats.claimed++;
        w->stats.taken_over += pg_bool(res, i, CLAIM_TAKEN_OVER);
        if (!run_start(w, res, i))
            log_error("no memory for a run", LOG_S("run", pg_value(res, i, CLAIM_RUN)));
    }
    if (in->lease_ended) /* a run may have been given up: its end is to be published */
        sweep_start(w->sweep);
    in->lease_ended = false;
    if (got < in->asked)
        tell_waiting(in);
    if (in->again || (got > 0 && got == in->asked)) { /* there may be more */
        in->again = false;
        intake_claim(in);
    }
}

static void on_settled(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct intake *in = arg;

    (void)err;
    in->claiming = false;
    if (outcome != PG_OK)
        return; /* the poll tries again */
    in->unsure = false;
    if (pg_int(res, 0, 0) > 0)
        log_info("claimed and not told", LOG_I("runs", pg_int(res, 0, 0)));
    intake_claim(in);
}

/* Takes the place of a claim, so that no other one is under way. */
static bool settle(struct intake *in)
{
    struct store_runs known;
    bool ok;

    store_runs_init(&known);
    LIST_EACH(node, tmp, &in->w->run_list)
        store_runs_add(&known, run_id(run_of_node(node)), 0);
    ok = store_hand_back_others(in->w, &known, on_settled, in);
    store_runs_fini(&known);
    return ok;
}

/* After an absence (Postgres was away, or this process slept) our own leases may have
 * passed: those are renewed first, and everybody else has the time to do the same. A
 * claim that waits for Postgres to come back is carried out before anybody could. */
static bool may_take_over(struct intake *in)
{
    int64_t now = clock_ms();

    if (!pg_pool_ready(in->w->pool) ||
        now - in->renewed_ms > in->w->conf->lease_ms * 2 / 3) {
        in->expired_from_ms = now + EXPIRED_AFTER_MS;
        renew(in);
    }
    return now >= in->expired_from_ms;
}

void intake_claim(struct intake *in)
{
    size_t n = room(in);

    if (in->stopped)
        return;
    /* without a look at the database nobody knows that it is migrated */
    if (in->said_ready && !publishers_ready(in->w->publishers))
        return;
    if (in->claiming) {
        in->again = true;
        return;
    }
    if (in->unsure) {
        in->claiming = settle(in);
        return;
    }
    if (n == 0) { /* worker_on_run_gone comes back here */
        tell_waiting(in);
        return;
    }
    in->asked = n < CLAIM_BATCH ? n : CLAIM_BATCH;
    if (!publishers_ready(in->w->publishers))
        in->asked = 0;
    in->claiming = store_claim(in->w, in->asked, may_take_over(in), on_claimed, in);
    KILL_POINT("claim-sent");
}

/* --- leases ----------------------------------------------------------------------- */

/* Those not in the answer are somebody else's by now. */
struct renewal {
    struct intake *in;
    size_t count;
    struct {
        char run_id[UUID_SIZE];
        int64_t attempt;
        bool ours;
    } item[];
};

static void renewal_note(struct renewal *rn, const struct pg_result *res, int row)
{
    const char *id = pg_value(res, row, 0);
    struct run *r = worker_run(rn->in->w, id);

    for (size_t i = 0; i < rn->count; i++)
        if (strcmp(rn->item[i].run_id, id) == 0)
            rn->item[i].ours = true;
    if (r && pg_bool(res, row, 1))
        run_cancel(r);
}

static void on_renewed(enum pg_outcome outcome, const struct pg_result *res,
                       const struct pg_error *err, void *arg)
{
    struct renewal *rn = arg;
    struct intake *in = rn->in;

    (void)err;
    KILL_POINT("renew-answered");
    in->renewing = false;
    if (outcome == PG_OK)
        in->renewed_ms = clock_ms();
    else
        timer_start(in->renew, RENEW_AGAIN_MS);
    for (int i = 0; outcome == PG_OK && i < pg_rows(res); i++)
        renewal_note(rn, res, i);
    for (size_t i = 0; outcome == PG_OK && i < rn->count; i++) {
        struct run *r = worker_run(in->w, rn->item[i].run_id);
        /* one that is ending learns it from its own statement */
        if (r && !rn->item[i].ours && run_attempt(r) == rn->item[i].attempt &&
            run_has_agent(r))
            run_drop(r, "its lease is somebody else's");
    }
    free(rn);
}

static void renew(struct intake *in)
{
    size_t max = worker_live_runs(in->w);
    struct renewal *rn;
    struct store_runs runs;

    if (max == 0 && pg_pool_ready(in->w->pool))
        in->renewed_ms = clock_ms();
    if (in->renewing || max == 0)
        return;
    rn = calloc(1, sizeof(*rn) + max * sizeof(rn->item[0]));
    if (!rn)
        return;
    rn->in = in;
    store_runs_init(&runs);
    LIST_EACH(node, tmp, &in->w->run_list) {
        const struct run *r = run_of_node(node);
        if (!run_is_live(r) || rn->count == max)
            continue;
        store_runs_add(&runs, run_id(r), run_attempt(r));
        snprintf(rn->item[rn->count].run_id, UUID_SIZE, "%s", run_id(r));
        rn->item[rn->count++].attempt = run_attempt(r);
    }
    in->renewing = store_renew(in->w, &runs, on_renewed, rn);
    KILL_POINT("renew-sent");
    store_runs_fini(&runs);
    if (!in->renewing)
        free(rn);
}

static void on_renew_timer(void *arg)
{
    struct intake *in = arg;

    renew(in);
    timer_start(in->renew, in->w->conf->lease_ms / 3);
}

/* --- the clock -------------------------------------------------------------------- */

static void on_lease_timer(void *arg)
{
    struct intake *in = arg;

    in->lease_ended = true;
    intake_claim(in);
}

static void on_next_claim(enum pg_outcome outcome, const struct pg_result *res,
                          const struct pg_error *err, void *arg)
{
    struct intake *in = arg;

    (void)err;
    in->asking_lease = false;
    if (outcome != PG_OK || pg_rows(res) == 0 || !pg_value(res, 0, 0))
        return;
    timer_start(in->lease, pg_int(res, 0, 0) + 1);
}

void intake_look(struct intake *in)
{
    if (!in->asking_lease && !in->stopped)
        in->asking_lease = store_next_claim(in->w, on_next_claim, in);
}

static void on_poll(void *arg)
{
    struct intake *in = arg;
    int64_t ms = in->w->conf->poll_ms;

    in->w->stats.polls++;
    in->tell = true;
    if (pg_state(in->listen) != PG_READY) /* nobody tells which runs are cancelled */
        renew(in);
    intake_claim(in);
    sweep_start(in->w->sweep);
    intake_look(in);
    timer_start(in->poll, ms - ms / 4 + clock_jitter(ms / 4 + 1));
}

/* --- hints ------------------------------------------------------------------------ */

static void on_notify(struct pg *p, const char *channel, const char *payload, void *arg)
{
    struct intake *in = arg;
    struct run *r;

    (void)p;
    if (pg_hear_notify(in->hear, channel, payload))
        return;
    in->w->stats.notifies++;
    if (strcmp(channel, "new_message") == 0) {
        intake_claim(in);
        return;
    }
    r = worker_run(in->w, payload);
    if (r)
        run_cancel(r);
    else
        sweep_start(in->w->sweep); /* it may have ended while it waited */
}

static void on_pool(bool ready, const char *why, void *arg)
{
    struct intake *in = arg;

    if (ready) /* it may be back before LISTEN is */
        in->expired_from_ms = clock_ms() + EXPIRED_AFTER_MS;
    else
        log_warn("postgres lost", LOG_S("connection", "pool"), LOG_S("why", why));
}

static void on_ready(struct pg *p, void *arg)
{
    struct intake *in = arg;

    pg_hear_start(in->hear, p);
    /* first what is ours, so that nobody takes it over after an absence */
    in->expired_from_ms = clock_ms() + EXPIRED_AFTER_MS;
    renew(in);
    timer_start(in->renew, in->w->conf->lease_ms / 3);
    on_poll(in);
}

static void on_down(struct pg *p, const char *why, void *arg)
{
    struct intake *in = arg;

    (void)p;
    pg_hear_stop(in->hear);
    in->w->stats.postgres_lost++;
    log_warn("postgres lost", LOG_S("connection", "listen"), LOG_S("why", why));
}

struct intake *intake_new(struct worker *w)
{
    static const struct pg_events events = {on_ready, on_down, on_notify};
    const struct worker_conf *conf = w->conf;
    struct intake *in = calloc(1, sizeof(*in));
    char name[64];
    struct pg_options o = {.url = conf->database_listen_url ? conf->database_listen_url
                                                            : conf->database_url,
                           .schema = conf->database_schema,
                           .name = name,
                           .pooled = conf->database_listen_url != NULL,
                           .listen = "new_message,run_control," PG_HEAR_CHANNEL,
                           .backoff_ms = WORKER_PG_BACKOFF_MS};

    if (!in)
        return NULL;
    snprintf(name, sizeof(name), "threadcast-worker:%s:listen", w->instance);
    in->w = w;
    in->poll = timer_new(w->loop, on_poll, in);
    in->renew = timer_new(w->loop, on_renew_timer, in);
    in->lease = timer_new(w->loop, on_lease_timer, in);
    in->hear = pg_hear_new(w->loop, w->pool, conf->database_schema);
    if (in->poll && in->renew && in->lease && in->hear)
        in->listen = pg_new(w->loop, &o, &events, in);
    if (in->listen) {
        pg_pool_on_change(w->pool, on_pool, in);
        timer_start(in->poll, conf->poll_ms); /* even if LISTEN cannot be had */
        timer_start(in->renew, conf->lease_ms / 3);
        return in;
    }
    intake_free(in);
    return NULL;
}

void intake_stop(struct intake *in)
{
    in->stopped = true;
    timer_stop(in->lease);
}

void intake_free(struct intake *in)
{
    if (!in)
        return;
    if (in->listen)
        pg_free(in->listen);
    pg_hear_free(in->hear);
    timer_free(in->poll);
    timer_free(in->renew);
    timer_free(in->lease);
    free(in);
}
