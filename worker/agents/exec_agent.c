/* exec_agent: what both modes have in common. It must never free an agent inside a call
 * of its run: the run releases it at the end of the turn. */
#include "worker/agents/exec_agent.h"

#include "common/log.h"
#include "common/loop.h"
#include "common/trace.h"
#include "worker/agent.h"
#include "worker/agents/exec_line.h"
#include "worker/agents/exec_options.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BAD_LINES_MAX = 20,   /* then the run ends */
    BAD_LINES_LOGGED = 5, /* a run */
};

static void on_limit(void *arg)
{
    struct agent *a = arg;

    if (!a->run || a->ended)
        return;
    a->w->stats.agent_limit_time++;
    agent_fail(a, "agent_time_limit", "The agent took longer than it may.", false);
}

struct agent *agent_new(struct worker *w, struct exec_options *o, struct run *r,
                        const struct agent_input *in, void (*on_grace)(void *arg),
                        void (*on_again)(void *arg))
{
    struct agent *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->w = w;
    a->o = o;
    a->run = r;
    snprintf(a->run_id, sizeof(a->run_id), "%s", in->run_id);
    snprintf(a->agent_id, sizeof(a->agent_id), "%s", in->agent_id);
    list_init(&a->node);
    buf_init(&a->line);
    buf_init(&a->held);
    a->limit = timer_new(w->loop, on_limit, a);
    a->grace = timer_new(w->loop, on_grace, a);
    a->again = timer_new(w->loop, on_again, a);
    if (a->limit && a->grace && a->again)
        return a;
    agent_free(a);
    return NULL;
}

void agent_free(struct agent *a)
{
    list_remove(&a->node);
    timer_free(a->limit);
    timer_free(a->grace);
    timer_free(a->again);
    buf_fini(&a->line);
    buf_fini(&a->held);
    free(a);
}

void agent_begin(struct agent *a)
{
    if (a->o->time_limit_s > 0)
        timer_start(a->limit, a->o->time_limit_s * 1000);
}

/* {type?, runId, threadId, agentId, attempt, messageId, message, messages, input,
 * requestId, traceparent} on one line */
void agent_add_job(struct buf *out, const struct agent_input *in, const char *type)
{
    buf_char(out, '{');
    if (type)
        buf_printf(out, "\"type\":\"%s\",", type);
    buf_printf(out,
               "\"runId\":\"%s\",\"threadId\":\"%s\",\"agentId\":\"%s\","
               "\"attempt\":%lld,\"messageId\":\"%s\",\"message\":{\"id\":\"%s\","
               "\"role\":\"user\",\"content\":",
               in->run_id, in->thread_id, in->agent_id, (long long)in->attempt,
               in->reply_id, in->message_id);
    buf_json(out, in->content, strlen(in->content));
    buf_str(out, ",\"metadata\":");
    buf_str(out, in->metadata);
    buf_str(out, "},\"messages\":");
    buf_str(out, in->history ? in->history : "[]");
    if (in->input) {
        buf_str(out, ",\"input\":");
        buf_str(out, in->input);
    }
    trace_members(in->trace, out);
    buf_str(out, "}\n");
}

/* --- what it says ----------------------------------------------------------------- */

void agent_fail(struct agent *a, const char *code, const char *message, bool retryable)
{
    if (!a->run || a->ended)
        return;
    a->ended = true;
    run_on_error(a->run, code, message, retryable);
}

void agent_bad_line(struct agent *a, const char *why)
{
    a->w->stats.agent_bad_lines++;
    if (a->bad_lines++ < BAD_LINES_LOGGED)
        log_warn("agent said no event", LOG_S("run", a->run_id), LOG_S("why", why));
    if (a->bad_lines == BAD_LINES_MAX)
        agent_fail(a, "agent_output", "The agent's output was not understood.", false);
}

void agent_count_bytes(struct agent *a, size_t count)
{
    a->out_bytes += count;
    if (!a->run || a->ended || a->o->output_limit_bytes == 0 ||
        a->out_bytes <= (uint64_t)a->o->output_limit_bytes)
        return;
    a->w->stats.agent_limit_output++;
    agent_fail(a, "agent_output_limit", "The agent wrote more than it may.", false);
}

static void end_said(struct agent *a, const struct exec_line *l)
{
    a->ended = true;
    if (l->said == EXEC_DONE)
        run_on_done(a->run, l->kind, l->has_usage ? l->json.data : NULL);
    else
        run_on_error(a->run, l->kind, l->text.data, l->retryable);
}

void agent_said(struct agent *a, const struct exec_line *l)
{
    switch (l->said) {
    case EXEC_TOKEN:
        run_on_token(a->run, l->text.data ? l->text.data : "", l->text.len);
        break;
    case EXEC_REASONING:
        run_on_reasoning(a->run, l->text.data ? l->text.data : "", l->text.len);
        break;
    case EXEC_DELTA:
        run_on_delta(a->run, l->kind, l->json.data, l->json.len);
        break;
    case EXEC_STATUS:
        run_on_status(a->run, l->json.data, l->json.len);
        break;
    case EXEC_DONE:
    case EXEC_ERROR:
        end_said(a, l);
        break;
    case EXEC_READY:
        agent_bad_line(a, "`ready` is said by a process that serves many runs");
        break;
    case EXEC_EMPTY:
        break;
    case EXEC_BAD:
        agent_bad_line(a, l->why);
        break;
    }
}
