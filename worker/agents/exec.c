/* exec: one process group a run.
 *
 *   stdin ◀── the conversation, once      stdout ──lines──▶ run_on_*
 *   stderr ──▶ our log                    gone ──▶ exit status, then the end
 *
 * The struct lives until the process has gone and was waited for, even when its run has
 * ended before: SIGTERM to the group, SIGKILL exec-kill-ms later. It must never block on
 * a pipe, nor believe that a closed pipe means a dead process, or the other way round. */
#include "worker/agents/exec.h"

#include "common/buf.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/trace.h"
#include "worker/agent.h"
#include "worker/agents.h"
#include "worker/agents/exec_line.h"
#include "worker/agents/exec_options.h"
#include "worker/agents/exec_spawn.h"
#include "worker/conf.h"
#include "worker/run.h"
#include "worker/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024,
    PIPE_SIZE = 64 * 1024, /* when the kernel does not say */
    BAD_LINES_MAX = 20,    /* then the run ends */
    BAD_LINES_LOGGED = 5,  /* a run */
    LOG_LINES_MAX = 50,    /* of stderr, a run */
    LOG_LINE_MAX = 1024,
};

struct agent {
    struct list node; /* worker->processes */
    struct worker *w;
    struct run *run; /* NULL: released, nothing may be said any more */
    char run_id[UUID_SIZE];
    struct exec_process p;
    struct event *in, *out, *err, *gone;
    struct timer *kill;
    struct buf input; /* what stdin has not taken */
    struct exec_lines lines, log_lines;
    int bad_lines, logged;
    bool paused;
    bool ended;  /* the run knows its end */
    bool termed; /* SIGTERM was sent: the timer means SIGKILL */
};

/* --- going
 * ------------------------------------------------------------------------------------ */

static void close_event(struct event **ev, int *fd)
{
    if (*ev)
        event_free(*ev);
    *ev = NULL;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void exec_free(struct agent *a)
{
    struct worker *w = a->w;

    list_remove(&a->node);
    close_event(&a->in, &a->p.in);
    close_event(&a->out, &a->p.out);
    close_event(&a->err, &a->p.err);
    close_event(&a->gone, &a->p.pidfd);
    timer_free(a->kill);
    buf_fini(&a->input);
    exec_lines_fini(&a->lines);
    exec_lines_fini(&a->log_lines);
    free(a);
    worker_on_process_gone(w);
}

static void signal_group(const struct agent *a, int number)
{
    if (a->p.pid > 0)
        kill(-a->p.pid, number);
}

/* First asked, then made to. */
static void end_process(struct agent *a)
{
    if (a->termed || a->p.pid <= 0)
        return;
    a->termed = true;
    signal_group(a, SIGTERM);
    timer_start(a->kill, a->w->conf->exec_kill_ms);
}

static void fail(struct agent *a, const char *code, const char *message)
{
    if (!a->run || a->ended)
        return;
    a->ended = true;
    run_on_error(a->run, code, message, false);
}

static void on_kill_timer(void *arg)
{
    struct agent *a = arg;

    if (a->termed) {
        log_warn("agent killed", LOG_S("run", a->run_id), LOG_I("pid", a->p.pid));
        signal_group(a, SIGKILL);
    } else {
        fail(a, "agent_closed", "The agent closed its output and did not end.");
        end_process(a);
    }
}

/* --- stdout
 * ------------------------------------------------------------------------------------ */

static void bad_line(struct agent *a, const char *why)
{
    a->w->stats.agent_bad_lines++;
    if (a->bad_lines++ < BAD_LINES_LOGGED)
        log_warn("agent said no event", LOG_S("run", a->run_id), LOG_S("why", why));
    if (a->bad_lines == BAD_LINES_MAX)
        fail(a, "agent_output", "The agent's output was not understood.");
}

static void on_end_said(struct agent *a, const struct exec_line *l)
{
    a->ended = true;
    if (l->said == EXEC_DONE)
        run_on_done(a->run, l->kind, l->has_usage ? l->json.data : NULL);
    else
        run_on_error(a->run, l->kind, l->text.data, l->retryable);
}

static void said(struct agent *a, const struct exec_line *l)
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
        on_end_said(a, l);
        break;
    case EXEC_EMPTY:
        break;
    case EXEC_BAD:
        bad_line(a, l->why);
        break;
    }
}

static bool on_line(const char *line, size_t len, void *arg)
{
    struct agent *a = arg;
    struct exec_line l;

    if (a->ended || !a->run) {
        a->w->stats.agent_after_end++;
        return false;
    }
    if (!line) {
        bad_line(a, "the line is too long");
        return true;
    }
    exec_line_parse(line, len, &l);
    said(a, &l);
    exec_line_fini(&l);
    return true;
}

/* At most `max` bytes. 0: nothing more can come now. */
static size_t read_some(int fd, size_t max, struct exec_lines *lines, exec_line_fn *fn,
                        void *arg, bool *ret_closed)
{
    static _Thread_local char bytes[READ_SIZE];
    ssize_t n = read(fd, bytes, max < sizeof(bytes) ? max : sizeof(bytes));

    *ret_closed = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n <= 0)
        return 0;
    exec_lines_feed(lines, bytes, (size_t)n, fn, arg);
    return (size_t)n;
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
    struct agent *a = arg;
    bool closed;

    (void)what;
    read_some(fd, READ_SIZE, &a->lines, on_line, a, &closed);
    if (!closed)
        return;
    exec_lines_end(&a->lines, on_line, a);
    close_event(&a->out, &a->p.out);
    /* alive and silent for good: its status is awaited, but not for ever */
    if (!a->ended && a->p.pid > 0)
        timer_start(a->kill, a->w->conf->exec_kill_ms);
}

/* --- stderr, stdin
 * -------------------------------------------------------------------------------- */

static bool on_log_line(const char *line, size_t len, void *arg)
{
    struct agent *a = arg;
    char text[LOG_LINE_MAX + 1];

    if (!line || a->logged >= LOG_LINES_MAX) {
        a->w->stats.agent_log_dropped++;
        return true;
    }
    snprintf(text, sizeof(text), "%.*s", (int)len, line);
    log_info("agent", LOG_S("run", a->run_id), LOG_S("stderr", text));
    if (++a->logged == LOG_LINES_MAX)
        log_warn("agent logs too much, the rest is dropped", LOG_S("run", a->run_id));
    return true;
}

static void on_err(evutil_socket_t fd, short what, void *arg)
{
    struct agent *a = arg;
    bool closed;

    (void)what;
    read_some(fd, READ_SIZE, &a->log_lines, on_log_line, a, &closed);
    if (closed) {
        exec_lines_end(&a->log_lines, on_log_line, a);
        close_event(&a->err, &a->p.err);
    }
}

static void on_in(evutil_socket_t fd, short what, void *arg)
{
    struct agent *a = arg;
    ssize_t n = write(fd, a->input.data, a->input.len);

    (void)what;
    if (n > 0)
        buf_consume(&a->input, (size_t)n);
    if ((n < 0 && errno != EAGAIN && errno != EINTR) || a->input.len == 0)
        close_event(&a->in, &a->p.in); /* all of it, or it does not want it */
}

/* --- its death
 * --------------------------------------------------------------------------------------
 */

static void report(struct agent *a, const siginfo_t *si)
{
    char text[96];

    if (!a->run || a->ended)
        return;
    if (si->si_code == CLD_EXITED && si->si_status == 0) {
        a->ended = true;
        run_on_done(a->run, "stop", NULL);
    } else if (si->si_code == CLD_EXITED) {
        snprintf(text, sizeof(text), "The agent ended with status %d.", si->si_status);
        fail(a, "agent_exit", text);
    } else {
        snprintf(text, sizeof(text), "The agent was ended by signal %d.", si->si_status);
        fail(a, "agent_signal", text);
    }
}

/* What is still of interest of stdout. */
static bool is_heard(const struct agent *a)
{
    return a->run && !a->ended && run_has_agent(a->run);
}

/* What it had written is still to be read: no more than a pipe holds, because somebody
 * whom it left behind may hold the other end and write for ever. */
static void drain(struct agent *a, int fd, struct exec_lines *lines, exec_line_fn *fn,
                  bool (*is_wanted)(const struct agent *a))
{
    int size = fcntl(fd, F_GETPIPE_SZ);
    size_t left = size > 0 ? (size_t)size : PIPE_SIZE, n = 1;
    int more = 0;
    bool closed = false;

    while (n > 0 && left > 0 && (!is_wanted || is_wanted(a))) {
        n = read_some(fd, left, lines, fn, a, &closed);
        left -= n;
    }
    exec_lines_end(lines, fn, a);
    if (!closed && ioctl(fd, FIONREAD, &more) == 0 && more > 0) {
        a->w->stats.agent_after_end++;
        log_warn("agent has gone, what follows is not read", LOG_S("run", a->run_id));
    }
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct agent *a = arg;
    siginfo_t si = {0};

    (void)what;
    if (waitid(P_PIDFD, (id_t)fd, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == 0)
        return;
    /* Before it is waited for: until then the group's number is nobody else's. */
    signal_group(a, SIGKILL);
    waitid(P_PIDFD, (id_t)fd, &si, WEXITED | WNOHANG);
    a->p.pid = 0;
    timer_stop(a->kill);
    if (a->out)
        drain(a, a->p.out, &a->lines, on_line, is_heard);
    if (a->err)
        drain(a, a->p.err, &a->log_lines, on_log_line, NULL);
    close_event(&a->in, &a->p.in);
    close_event(&a->out, &a->p.out);
    close_event(&a->err, &a->p.err);
    close_event(&a->gone, &a->p.pidfd);
    report(a, &si);
    if (!a->run)
        exec_free(a);
}

/* --- for the run
 * ------------------------------------------------------------------------------------ */

static void exec_release(struct agent *a)
{
    a->run = NULL;
    if (a->p.pid <= 0) {
        exec_free(a);
        return;
    }
    close_event(&a->in, &a->p.in);
    if (a->ended && !a->termed)
        timer_start(a->kill, a->w->conf->exec_kill_ms); /* may clean up first */
    else
        end_process(a);
    if (a->paused && a->out)
        event_add(a->out, NULL);
}

static void exec_pause(struct agent *a)
{
    a->paused = true;
    if (a->out)
        event_del(a->out);
}

static void exec_resume(struct agent *a)
{
    a->paused = false;
    if (a->out)
        event_add(a->out, NULL);
}

/* {runId, threadId, agentId, attempt, messageId, message, messages, input, requestId,
 * traceparent} on one line */
static void add_input(struct buf *out, const struct agent_input *in)
{
    buf_printf(out,
               "{\"runId\":\"%s\",\"threadId\":\"%s\",\"agentId\":\"%s\","
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

static bool watch(struct agent *a)
{
    struct event_base *base = loop_base(a->w->loop);

    a->in = event_new(base, a->p.in, EV_WRITE | EV_PERSIST, on_in, a);
    a->out = event_new(base, a->p.out, EV_READ | EV_PERSIST, on_out, a);
    a->err = event_new(base, a->p.err, EV_READ | EV_PERSIST, on_err, a);
    a->gone = event_new(base, a->p.pidfd, EV_READ | EV_PERSIST, on_gone, a);
    return a->in && a->out && a->err && a->gone && event_add(a->in, NULL) == 0 &&
           event_add(a->out, NULL) == 0 && event_add(a->err, NULL) == 0 &&
           event_add(a->gone, NULL) == 0;
}

static struct agent *exec_start(struct worker *w, const struct agent_def *def,
                                struct run *r, const struct agent_input *in,
                                const char **why)
{
    const struct exec_options *options = def->options;
    struct agent *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->w = w;
    a->run = r;
    a->p = (struct exec_process){.pidfd = -1, .in = -1, .out = -1, .err = -1};
    snprintf(a->run_id, sizeof(a->run_id), "%s", in->run_id);
    list_init(&a->node);
    buf_init(&a->input);
    exec_lines_init(&a->lines, EXEC_LINE_MAX);
    exec_lines_init(&a->log_lines, LOG_LINE_MAX);
    add_input(&a->input, in);
    a->kill = timer_new(w->loop, on_kill_timer, a);
    if (!a->kill || a->input.failed)
        goto fail;
    if (!exec_spawn(options->command, in, &a->p)) {
        log_error("agent cannot be started", LOG_S("run", a->run_id),
                  LOG_S("why", strerror(errno)));
        a->p = (struct exec_process){.pidfd = -1, .in = -1, .out = -1, .err = -1};
        *why = "The agent's program could not be started.";
        goto fail;
    }
    list_push(&w->processes, &a->node);
    if (watch(a))
        return a;
    signal_group(a, SIGKILL);
    waitpid(a->p.pid, NULL, 0);
fail:
    exec_free(a);
    return NULL;
}

void exec_kill_all(struct worker *w)
{
    LIST_EACH(node, tmp, &w->processes) {
        struct agent *a = LIST_ITEM(node, struct agent, node);
        signal_group(a, SIGKILL);
        if (a->p.pid > 0)
            waitpid(a->p.pid, NULL, 0);
        exec_free(a);
    }
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
