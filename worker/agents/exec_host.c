/* exec_host: lines with a run's id go to and fro.
 *
 *   run, cancel, pause, resume ──stdin──▶ process ──stdout──▶ the run that a line names
 *
 * A run that does not obey a cancel keeps its place, and its process gets no new ones: it
 * is killed when nobody else works in it. What a line says of a run that is not this
 * process's own is nothing. */
#include "worker/agents/exec_host.h"

#include "common/log.h"
#include "common/loop.h"
#include "worker/agent.h"
#include "worker/agents/exec_agent.h"
#include "worker/agents/exec_child.h"
#include "worker/agents/exec_hold.h"
#include "worker/agents/exec_line.h"
#include "worker/agents/exec_options.h"
#include "worker/agents/exec_pool.h"
#include "worker/agents/exec_spawn.h"
#include "worker/conf.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

enum {
    BAD_LINES_MAX = 200, /* in a row, of no run: it speaks something else */
    BAD_LINES_LOGGED = 5,
    SAY_MAX = 1 << 20, /* it does not read: nothing that can be left out is said */
};

struct exec_host *exec_host_of(struct list *node)
{
    return LIST_ITEM(node, struct exec_host, node);
}

size_t exec_host_count(const struct exec_host *h)
{
    return h->count;
}

bool exec_host_is_retired(const struct exec_host *h)
{
    return h->retired;
}

/* --- its end ---------------------------------------------------------------------- */

/* Its runs get this as a reason that another attempt may help. */
static void give_up(struct exec_host *h, const char *code, const char *message)
{
    if (!h->code) {
        log_warn("agent's process is ended", LOG_S("agent", h->child->label),
                 LOG_I("pid", h->child->p.pid), LOG_S("why", message));
        h->code = code;
        h->message = message;
    }
    h->retired = true;
    exec_child_end(h->child);
}

static void leave(struct exec_host *h)
{
    h->retired = true;
    if (h->leaving)
        return;
    h->leaving = true;
    exec_child_close_input(h->child);
    timer_start(h->timer, h->w->conf->exec_kill_ms);
}

/* A run of it is over, or stuck. */
static void settle(struct exec_host *h)
{
    if (!h->o || (h->o->runs_per_process > 0 && h->served >= h->o->runs_per_process))
        h->retired = true;
    if (h->count > h->stuck)
        return;
    if (h->count > 0)
        give_up(h, "agent_stuck", "a run in it did not obey a cancel");
    else if (h->retired || h->w->draining)
        leave(h);
    else if (h->ready && h->o->idle_s > 0)
        timer_start(h->timer, h->o->idle_s * 1000);
}

static void on_timer(void *arg)
{
    struct exec_host *h = arg;

    if (h->leaving)
        exec_child_end(h->child);
    else if (h->closed)
        give_up(h, "agent_closed", "The agent closed its output and did not end.");
    else if (!h->ready)
        give_up(h, "agent_start", "The agent's program was not ready in time.");
    else
        leave(h);
}

/* --- what it is told -------------------------------------------------------------- */

void exec_host_say(struct agent *a, const char *type)
{
    struct exec_child *c = a->host->child;

    if (!a->sent || a->over || c->input.len > SAY_MAX)
        return;
    buf_printf(&c->input, "{\"type\":\"%s\",\"runId\":\"%s\"}\n", type, a->run_id);
    exec_child_write(c);
}

static void send(struct exec_host *h, struct agent *a)
{
    a->sent = true;
    buf_add(&h->child->input, a->line.data, a->line.len);
    buf_fini(&a->line);
    buf_init(&a->line);
    if (h->child->input.failed) {
        give_up(h, "out_of_memory", "The worker has no memory left.");
        return;
    }
    if (h->o->cpu_limit_s > 0)
        exec_spawn_grant_cpu(h->child->p.pid, h->o->cpu_limit_s * (int64_t)h->count);
    exec_child_write(h->child);
    agent_begin(a);
}

void exec_host_give(struct exec_host *h, struct agent *a)
{
    a->host = h;
    list_push(&h->runs, &a->node);
    h->count++;
    h->served++;
    if (!h->ready)
        return;
    timer_stop(h->timer);
    send(h, a);
}

/* --- the runs' places ------------------------------------------------------------- */

static void drop(struct exec_host *h, struct agent *a)
{
    h->stuck -= a->stuck;
    agent_free(a);
    h->count--;
    settle(h);
    if (h->o)
        exec_pool_serve(h->o);
}

void exec_host_release(struct agent *a)
{
    struct exec_host *h = a->host;

    exec_hold_read_again(h); /* nothing is held for it any more */
    if (!a->sent || a->over) {
        drop(h, a);
        return;
    }
    exec_host_say(a, "cancel");
    timer_start(a->grace, h->w->conf->exec_kill_ms);
}

void exec_host_on_grace(void *arg)
{
    struct agent *a = arg;

    if (!a->host)
        return;
    if (timer_running(a->host->hold)) { /* it may have, and nobody has read it */
        timer_start(a->grace, a->w->conf->exec_kill_ms);
        return;
    }
    log_warn("agent does not obey a cancel", LOG_S("run", a->run_id),
             LOG_S("agent", a->agent_id));
    a->w->stats.agent_stuck++;
    a->stuck = true;
    a->host->stuck++;
    a->host->retired = true;
    settle(a->host);
}

/* --- what it says ----------------------------------------------------------------- */

static void loose_line(struct exec_host *h, const char *why)
{
    h->w->stats.agent_bad_lines++;
    if (h->bad_lines++ < BAD_LINES_LOGGED)
        log_warn("agent's process said no event", LOG_S("agent", h->child->label),
                 LOG_S("why", why));
    if (h->bad_lines == BAD_LINES_MAX)
        give_up(h, "agent_output", "The agent's output was not understood.");
}

static void on_ready(struct exec_host *h, const struct exec_line *l)
{
    if (l->protocol != EXEC_PROTOCOL) {
        give_up(h, "agent_protocol", "The agent speaks another version of the protocol.");
        return;
    }
    if (h->ready)
        return;
    h->ready = true;
    timer_stop(h->timer);
    LIST_EACH(node, tmp, &h->runs)
        send(h, LIST_ITEM(node, struct agent, node));
    settle(h);
}

static struct agent *find(const struct exec_host *h, const char *run_id)
{
    LIST_EACH(node, tmp, (struct list *)&h->runs) {
        struct agent *a = LIST_ITEM(node, struct agent, node);
        if (a->sent && strcmp(a->run_id, run_id) == 0)
            return a;
    }
    return NULL;
}

static void run_line(struct exec_host *h, const char *line, size_t len,
                     const struct exec_line *l)
{
    struct agent *a = find(h, l->run_id);

    if (!a) {
        h->w->stats.agent_foreign_lines++;
        return;
    }
    h->bad_lines = 0;
    h->loose_bytes = 0;
    agent_count_bytes(a, len + 1);
    if (a->run && !a->ended && (a->paused || a->held.len > 0)) {
        exec_hold_add(a, line, len);
    } else if (a->run && !a->ended) {
        exec_hold_told(a, l);
    } else if (!exec_hold_is_end(l) || a->over) {
        h->w->stats.agent_after_end++;
    } else if (a->run) {
        a->over = true; /* it is released at the end of the turn */
    } else {
        drop(h, a);
    }
}

static bool on_line(const char *line, size_t len, void *arg)
{
    struct exec_host *h = arg;
    struct exec_line l;

    if (!line) {
        loose_line(h, "the line is too long");
        return true;
    }
    exec_line_parse(line, len, &l);
    if (l.said == EXEC_READY)
        on_ready(h, &l);
    else if (l.run_id[0])
        run_line(h, line, len, &l);
    else if (l.said != EXEC_EMPTY)
        loose_line(h, l.said == EXEC_BAD ? l.why : "a line names its run");
    exec_line_fini(&l);
    return true;
}

static void on_bytes(size_t count, void *arg)
{
    struct exec_host *h = arg;

    h->loose_bytes += count;
    if (h->o && h->o->output_limit_bytes > 0 &&
        h->loose_bytes > (uint64_t)h->o->output_limit_bytes && !h->code) {
        h->w->stats.agent_limit_output++;
        give_up(h, "agent_output_limit", "The agent wrote more than it may.");
    }
}

void exec_host_pour(struct agent *a)
{
    if (!a->host || !a->run)
        return;
    exec_hold_pour(a, false);
    if (a->held.len == 0 && !a->paused && !a->ended)
        exec_host_say(a, "resume");
    exec_hold_read_again(a->host);
}

/* --- its life --------------------------------------------------------------------- */

static void on_closed(void *arg)
{
    struct exec_host *h = arg;

    h->retired = true; /* mostly because it dies, and then its status says more */
    h->closed = true;
    if (!h->leaving)
        timer_start(h->timer, h->w->conf->exec_kill_ms);
}

/* What it had said of a run counts; a run without its end is tried again. */
static void on_gone(const struct exec_death *death, void *arg)
{
    struct exec_host *h = arg;
    struct exec_options *o = h->o;
    const char *code = h->code ? h->code : death->code;
    const char *message = h->code       ? h->message
                          : death->well ? "The agent's process ended."
                                        : death->message;

    if (h->count > 0) {
        log_warn("agent's process has gone with runs", LOG_S("agent", h->child->label),
                 LOG_I("runs", h->count), LOG_S("code", code), LOG_S("why", message));
        h->w->stats.agent_processes_lost++;
    }
    LIST_EACH(node, tmp, &h->runs) {
        struct agent *a = LIST_ITEM(node, struct agent, node);
        list_remove(&a->node);
        exec_hold_pour(a, true);
        a->host = NULL;
        timer_stop(a->grace);
        agent_fail(a, code, message, true);
        if (!a->run)
            agent_free(a);
    }
    list_remove(&h->node);
    timer_free(h->timer);
    timer_free(h->hold);
    free(h);
    if (o)
        exec_pool_serve(o);
}

static const struct exec_owner owner = {
    .on_line = on_line,
    .on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_gone = on_gone,
};

static bool start(struct exec_host *h, const char *agent_id)
{
    struct buf *out;

    h->timer = timer_new(h->w->loop, on_timer, h);
    h->hold = timer_new(h->w->loop, exec_hold_on_timer, h);
    if (!h->timer || !h->hold)
        return false;
    h->child = exec_child_new(h->w, h->o, NULL, agent_id, &owner, h);
    if (!h->child)
        return false;
    out = &h->child->input;
    h->child->keep = true;
    buf_printf(out, "{\"type\":\"hello\",\"protocol\":%d,\"agentId\":", EXEC_PROTOCOL);
    buf_json(out, agent_id, strlen(agent_id));
    buf_printf(out, ",\"runsAtOnce\":%lld}\n", (long long)h->o->runs_at_once);
    exec_child_write(h->child);
    timer_start(h->timer, h->o->start_limit_s * 1000);
    return true;
}

struct exec_host *exec_host_new(struct worker *w, struct exec_options *o,
                                const char *agent_id)
{
    struct exec_host *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->w = w;
    h->o = o;
    list_init(&h->runs);
    list_init(&h->node);
    if (start(h, agent_id)) {
        list_push(&o->hosts, &h->node);
        return h;
    }
    timer_free(h->timer);
    timer_free(h->hold);
    free(h);
    return NULL;
}

void exec_hosts_leave(struct exec_options *o)
{
    LIST_EACH(node, tmp, &o->hosts) {
        struct exec_host *h = exec_host_of(node);
        list_remove(&h->node);
        h->o = NULL;
        h->retired = true;
        settle(h);
    }
}

void exec_hosts_drain(struct worker *w)
{
    LIST_EACH(node, tmp, &w->processes) {
        const struct exec_child *c = LIST_ITEM(node, struct exec_child, node);
        if (c->owner == &owner && ((struct exec_host *)c->arg)->count == 0)
            leave(c->arg);
    }
}
