/* exec: a program that answers. Here one process a run; exec_pool has those that serve
 * many.
 *
 *   stdin ◀── the conversation, once      stdout ──lines──▶ run_on_*
 *   gone ──▶ exit status, then the end
 *
 * The agent lives until its process has gone, even when its run has ended before: SIGTERM
 * to the group, SIGKILL exec-kill-ms later. */
#include "worker/agents/exec.h"

#include "common/log.h"
#include "common/loop.h"
#include "worker/agent.h"
#include "worker/agents/exec_agent.h"
#include "worker/agents/exec_child.h"
#include "worker/agents/exec_line.h"
#include "worker/agents/exec_options.h"
#include "worker/agents/exec_orphans.h"
#include "worker/agents/exec_pool.h"
#include "worker/conf.h"
#include "worker/run.h"
#include "worker/worker.h"

#include <errno.h>

/* --- what the process does -------------------------------------------------------- */

static bool on_line(const char *line, size_t len, void *arg)
{
    struct agent *a = arg;
    struct exec_line l;

    if (a->ended || !a->run || !run_has_agent(a->run)) {
        a->w->stats.agent_after_end++;
        return false;
    }
    if (!line) {
        agent_bad_line(a, "the line is too long");
        return true;
    }
    exec_line_parse(line, len, &l);
    agent_said(a, &l);
    exec_line_fini(&l);
    return true;
}

static void on_bytes(size_t count, void *arg)
{
    agent_count_bytes(arg, count);
}

/* Alive and silent for good: its status is awaited, but not for ever. */
static void on_closed(void *arg)
{
    struct agent *a = arg;

    if (!a->ended)
        timer_start(a->grace, a->w->conf->exec_kill_ms);
}

static void on_gone(const struct exec_death *death, void *arg)
{
    struct agent *a = arg;

    a->child = NULL;
    timer_stop(a->grace);
    if (a->run && !a->ended && death->well) {
        a->ended = true;
        run_on_done(a->run, "stop", NULL);
    }
    agent_fail(a, death->code, death->message, false);
    if (!a->run)
        agent_free(a);
}

static const struct exec_owner owner = {
    .on_line = on_line,
    .on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_gone = on_gone,
};

/* It has had its time: to end by itself, or to clean up. */
static void on_grace(void *arg)
{
    struct agent *a = arg;

    agent_fail(a, "agent_closed", "The agent closed its output and did not end.", false);
    if (a->child)
        exec_child_end(a->child);
}

/* --- for the run ------------------------------------------------------------------ */

static void release_one(struct agent *a)
{
    a->run = NULL;
    timer_stop(a->limit);
    if (!a->child) {
        agent_free(a);
        return;
    }
    exec_child_close_input(a->child);
    if (a->ended && !a->child->termed)
        timer_start(a->grace, a->w->conf->exec_kill_ms); /* may clean up first */
    else
        exec_child_end(a->child);
    if (a->paused)
        exec_child_resume(a->child); /* what it still writes is thrown away */
}

static void nothing_held(void *arg)
{
    (void)arg;
}

static struct agent *start_one(struct worker *w, struct exec_options *o, struct run *r,
                               const struct agent_input *in, const char **why)
{
    struct agent *a = agent_new(w, o, r, in, on_grace, nothing_held);

    if (!a)
        return NULL;
    a->child = exec_child_new(w, o, in, in->run_id, &owner, a);
    if (!a->child) {
        *why = "The agent's program could not be started.";
        agent_free(a);
        return NULL;
    }
    agent_add_job(&a->child->input, in, NULL);
    if (a->child->input.failed)
        agent_fail(a, "out_of_memory", "The worker has no memory left.", true);
    exec_child_write(a->child);
    agent_begin(a);
    return a;
}

static struct agent *exec_start(struct worker *w, const struct agent_def *def,
                                struct run *r, const struct agent_input *in,
                                const char **why)
{
    struct exec_options *o = def->options;

    return o->persistent ? exec_pool_start(w, o, r, in, why)
                         : start_one(w, o, r, in, why);
}

static void exec_release(struct agent *a)
{
    if (a->o->persistent)
        exec_pool_release(a);
    else
        release_one(a);
}

static void exec_pause(struct agent *a)
{
    a->paused = true;
    if (a->o->persistent)
        exec_pool_pause(a);
    else if (a->child)
        exec_child_pause(a->child);
}

static void exec_resume(struct agent *a)
{
    a->paused = false;
    if (a->o->persistent)
        exec_pool_resume(a);
    else if (a->child)
        exec_child_resume(a->child);
}

void exec_drain(struct worker *w)
{
    exec_pool_drain(w);
}

void exec_kill_all(struct worker *w)
{
    while (!list_empty(&w->processes))
        exec_child_kill(LIST_ITEM(list_next(&w->processes), struct exec_child, node));
    exec_orphans_end(w);
}

const struct agent_kind agent_exec = {
    .name = "exec",
    .needs_history = true,
    .shorthand = "command",
    .options_new = exec_options_new,
    .options_free = exec_options_free,
    .start = exec_start,
    .pause = exec_pause,
    .resume = exec_resume,
    .release = exec_release,
};
