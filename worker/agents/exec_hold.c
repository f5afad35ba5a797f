/* exec_hold: a run that Redis does not keep up with was told to pause.
 *
 *   its lines ──▶ held, HOLD_MAX bytes ──▶ the pipe is not read, for exec-kill-ms
 *                  └── resumed: poured        └──▶ that run alone ends
 *
 * So one run holds up the others of its process for no longer than that. It must never
 * let a line pass one that is held. */
#include "worker/agents/exec_hold.h"

#include "common/loop.h"
#include "worker/agents/exec_agent.h"
#include "worker/agents/exec_child.h"
#include "worker/agents/exec_line.h"
#include "worker/conf.h"
#include "worker/worker.h"

#include <string.h>

enum { HOLD_MAX = 1 << 20 }; /* bytes, a run */

bool exec_hold_is_end(const struct exec_line *l)
{
    return l->said == EXEC_DONE || l->said == EXEC_ERROR;
}

void exec_hold_told(struct agent *a, const struct exec_line *l)
{
    a->over |= exec_hold_is_end(l);
    agent_said(a, l);
}

void exec_hold_add(struct agent *a, const char *line, size_t len)
{
    struct exec_host *h = a->host;

    buf_add(&a->held, line, len);
    buf_char(&a->held, '\n');
    if (a->held.failed) {
        agent_fail(a, "out_of_memory", "The worker has no memory left.", true);
    } else if (a->held.len > HOLD_MAX && !timer_running(h->hold)) {
        h->w->stats.agent_held_up++;
        exec_child_pause(h->child);
        timer_start(h->hold, h->w->conf->exec_kill_ms);
    }
}

/* Line by line, until it has to pause again. */
void exec_hold_pour(struct agent *a, bool all)
{
    size_t at = 0;

    while (at < a->held.len && a->run && !a->ended && (all || !a->paused)) {
        const char *line = a->held.data + at;
        const char *end = memchr(line, '\n', a->held.len - at);
        struct exec_line l;
        exec_line_parse(line, (size_t)(end - line), &l);
        exec_hold_told(a, &l);
        exec_line_fini(&l);
        at += (size_t)(end - line) + 1;
    }
    buf_consume(&a->held, at);
    if (a->ended)
        buf_clear(&a->held);
}

void exec_hold_read_again(struct exec_host *h)
{
    LIST_EACH(node, tmp, &h->runs) {
        if (LIST_ITEM(node, struct agent, node)->held.len > HOLD_MAX)
            return;
    }
    if (!timer_running(h->hold))
        return;
    timer_stop(h->hold);
    exec_child_resume(h->child);
}

void exec_hold_on_timer(void *arg)
{
    struct exec_host *h = arg;

    LIST_EACH(node, tmp, &h->runs) {
        struct agent *a = LIST_ITEM(node, struct agent, node);
        if (a->held.len <= HOLD_MAX)
            continue;
        h->w->stats.agent_limit_flood++;
        buf_clear(&a->held);
        agent_fail(a, "agent_flood", "The agent did not pause when it was told to.",
                   false);
    }
    exec_child_resume(h->child);
}
