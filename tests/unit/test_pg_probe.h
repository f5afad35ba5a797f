/* One Postgres connection under test and all that it said. */
#ifndef THREADCAST_TEST_PG_PROBE_H
#define THREADCAST_TEST_PG_PROBE_H

#include "common/pg.h"
#include "test_wait.h"

#include <stdio.h>
#include <string.h>

struct probe {
    struct loop *loop;
    struct pg *pg;
    int ready, down, notified;
    char why[400];
    char channel[64], payload[128];
    int done, ok, failed, lost, unsent; /* statements asked with probe_result */
    char value[256];                    /* first value of the last result */
    bool null;
    int rows;
    int64_t affected;
    char sqlstate[6], message[256];
    int *counter, until;
};

static inline void probe_on_ready(struct pg *p, void *arg)
{
    (void)p;
    ((struct probe *)arg)->ready++;
}

static inline void probe_on_down(struct pg *p, const char *why, void *arg)
{
    struct probe *probe = arg;

    (void)p;
    probe->down++;
    snprintf(probe->why, sizeof(probe->why), "%s", why);
}

static inline void probe_on_notify(struct pg *p, const char *channel, const char *payload,
                                   void *arg)
{
    struct probe *probe = arg;

    (void)p;
    probe->notified++;
    snprintf(probe->channel, sizeof(probe->channel), "%s", channel);
    snprintf(probe->payload, sizeof(probe->payload), "%s", payload);
}

static const struct pg_events probe_events = {
    .on_ready = probe_on_ready, .on_down = probe_on_down, .on_notify = probe_on_notify};

static inline void probe_result(enum pg_outcome outcome, const struct pg_result *res,
                                const struct pg_error *err, void *arg)
{
    struct probe *probe = arg;

    probe->done++;
    probe->ok += outcome == PG_OK;
    probe->failed += outcome == PG_FAILED;
    probe->lost += outcome == PG_LOST;
    probe->unsent += outcome == PG_UNSENT;
    if (err) {
        memcpy(probe->sqlstate, err->sqlstate, sizeof(probe->sqlstate));
        snprintf(probe->message, sizeof(probe->message), "%s", err->message);
    }
    if (res) {
        const char *value = pg_value(res, 0, 0);
        probe->rows = pg_rows(res);
        probe->affected = pg_affected(res);
        probe->null = value == NULL;
        snprintf(probe->value, sizeof(probe->value), "%s", value ? value : "");
    }
}

static inline bool probe_reached(void *arg)
{
    struct probe *probe = arg;

    return *probe->counter >= probe->until;
}

static inline bool probe_wait(struct probe *probe, int *counter, int value)
{
    probe->counter = counter;
    probe->until = value;
    return test_wait(probe->loop, probe_reached, probe, 20000);
}

static inline void probe_open(struct probe *probe, const char *url, struct pg_options o,
                              const struct pg_events *events)
{
    memset(probe, 0, sizeof(*probe));
    probe->loop = loop_new();
    o.url = url;
    probe->pg = pg_new(probe->loop, &o, events ? events : &probe_events, probe);
}

static inline void probe_close(struct probe *probe)
{
    pg_free(probe->pg);
    test_turns(probe->loop, 3);
    loop_free(probe->loop);
}

/* Asks, waits for the end, gives it in the probe. */
static inline bool probe_ask(struct probe *probe, const char *sql, int n,
                             const char *const *params)
{
    return pg_query(probe->pg, sql, n, params, 5000, probe_result, probe) &&
           probe_wait(probe, &probe->done, probe->done + 1);
}

#endif
