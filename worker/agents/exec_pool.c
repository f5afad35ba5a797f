/* exec_pool: the least busy process gets a run; when none has a place a new one is
 * started, up to `processes`; then it waits.
 *
 *   exec_pool_start ──▶ choose ──▶ exec_host_give      release ──▶ a place is free
 *                          └────▶ options->waiting ◀── exec_pool_serve
 *
 * A process is started because a run needs it and never by itself, so that one that dies
 * at once is started again at the pace of its runs' attempts. */
#include "worker/agents/exec_pool.h"

#include "common/loop.h"
#include "worker/agent.h"
#include "worker/agents/exec_agent.h"
#include "worker/agents/exec_host.h"
#include "worker/agents/exec_options.h"
#include "worker/worker.h"

#include <stdlib.h>

static const char no_start[] = "The agent's program could not be started.";

/* NULL: none has a place. `ret_count`: of those that get new runs, and of all. */
static struct exec_host *choose(const struct exec_options *o, int64_t *ret_open,
                                int64_t *ret_all)
{
    struct exec_host *best = NULL;

    *ret_open = *ret_all = 0;
    LIST_EACH(node, tmp, (struct list *)&o->hosts) {
        struct exec_host *h = exec_host_of(node);
        ++*ret_all;
        if (exec_host_is_retired(h))
            continue;
        ++*ret_open;
        if (exec_host_count(h) < (size_t)o->runs_at_once &&
            (!best || exec_host_count(h) < exec_host_count(best)))
            best = h;
    }
    return best;
}

/* An idle one beats a new one, a new one beats one that is at work. Those that were
 * retired and are not gone yet may be as many again. */
static struct exec_host *host_for(struct worker *w, struct exec_options *o,
                                  const char *agent_id, bool *ret_failed)
{
    int64_t open, all;
    struct exec_host *best = choose(o, &open, &all);
    struct exec_host *fresh = NULL;

    *ret_failed = false;
    if (best && exec_host_count(best) == 0)
        return best;
    if (open < o->processes && all < 2 * o->processes) {
        fresh = exec_host_new(w, o, agent_id);
        *ret_failed = !fresh && !best;
    }
    return fresh ? fresh : best;
}

void exec_pool_serve(struct exec_options *o)
{
    while (!list_empty(&o->waiting)) {
        struct agent *a = LIST_ITEM(list_next(&o->waiting), struct agent, node);
        bool failed;
        struct exec_host *h = host_for(a->w, o, a->agent_id, &failed);
        if (!h && !failed)
            return;
        list_remove(&a->node);
        if (h)
            exec_host_give(h, a);
        else
            agent_fail(a, "agent_start", no_start, true);
    }
}

static void on_again(void *arg)
{
    exec_host_pour(arg);
}

struct agent *exec_pool_start(struct worker *w, struct exec_options *o, struct run *r,
                              const struct agent_input *in, const char **why)
{
    struct agent *a = agent_new(w, o, r, in, exec_host_on_grace, on_again);
    struct exec_host *h;
    bool failed;

    if (!a)
        return NULL;
    agent_add_job(&a->line, in, "run");
    h = a->line.failed ? NULL : host_for(w, o, in->agent_id, &failed);
    if (a->line.failed || failed) {
        *why = no_start;
        agent_free(a);
        return NULL;
    }
    if (h)
        exec_host_give(h, a);
    else
        list_push(&o->waiting, &a->node);
    return a;
}

void exec_pool_release(struct agent *a)
{
    a->run = NULL;
    timer_stop(a->limit);
    timer_stop(a->again);
    buf_clear(&a->held);
    if (a->host)
        exec_host_release(a);
    else
        agent_free(a);
}

void exec_pool_pause(struct agent *a)
{
    if (a->host)
        exec_host_say(a, "pause");
}

void exec_pool_resume(struct agent *a)
{
    timer_start(a->again, 0);
}

void exec_pool_drain(struct worker *w)
{
    exec_hosts_drain(w);
}
