/* exec_child: it lives until the process has gone and was waited for. It must never
 * block on a pipe, nor believe that a closed pipe means a dead process, or the other way
 * round. */
#include "worker/agents/exec_child.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "worker/agents/exec_death.h"
#include "worker/agents/exec_options.h"
#include "worker/agents/exec_orphans.h"
#include "worker/conf.h"
#include "worker/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024,
    PIPE_SIZE = 64 * 1024, /* when the kernel does not say */
    LOG_LINES_MAX = 50,    /* of stderr, in LOG_MS */
    LOG_MS = 60000,
    LOG_LINE_MAX = 1024,
};

/* --- going ------------------------------------------------------------------------ */

static void close_event(struct event **ev, int *fd)
{
    if (*ev)
        event_free(*ev);
    *ev = NULL;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void child_free(struct exec_child *c)
{
    struct worker *w = c->w;

    list_remove(&c->node);
    close_event(&c->in, &c->p.in);
    close_event(&c->out, &c->p.out);
    close_event(&c->err, &c->p.err);
    close_event(&c->gone, &c->p.pidfd);
    timer_free(c->kill);
    buf_fini(&c->input);
    exec_lines_fini(&c->lines);
    exec_lines_fini(&c->log_lines);
    free(c);
    exec_orphans_look(w);
    worker_on_process_gone(w);
}

bool exec_child_lives(const struct exec_child *c)
{
    return c->p.pid > 0;
}

static void signal_group(const struct exec_child *c, int number)
{
    if (exec_child_lives(c))
        kill(-c->p.pid, number);
}

/* First asked, then made to. */
void exec_child_end(struct exec_child *c)
{
    if (c->termed || !exec_child_lives(c))
        return;
    c->termed = true;
    signal_group(c, SIGTERM);
    timer_start(c->kill, c->w->conf->exec_kill_ms);
}

static void on_kill_timer(void *arg)
{
    struct exec_child *c = arg;

    log_warn("agent killed", LOG_S("of", c->label), LOG_I("pid", c->p.pid));
    signal_group(c, SIGKILL);
}

/* --- its pipes -------------------------------------------------------------------- */

/* At most `max` bytes of stdout. 0: nothing more can come now. */
static size_t read_out(struct exec_child *c, size_t max, bool *ret_closed)
{
    static _Thread_local char bytes[READ_SIZE];
    ssize_t n = read(c->p.out, bytes, max < sizeof(bytes) ? max : sizeof(bytes));

    *ret_closed = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n <= 0)
        return 0;
    c->owner->on_bytes((size_t)n, c->arg);
    exec_lines_feed(&c->lines, bytes, (size_t)n, c->owner->on_line, c->arg);
    return (size_t)n;
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
    struct exec_child *c = arg;
    bool closed;

    (void)fd, (void)what;
    read_out(c, READ_SIZE, &closed);
    if (!closed)
        return;
    exec_lines_end(&c->lines, c->owner->on_line, c->arg);
    close_event(&c->out, &c->p.out);
    c->owner->on_closed(c->arg);
}

/* So many in a minute: one that serves for days may say something each day. */
static bool may_log(struct exec_child *c)
{
    int64_t now = clock_ms();

    if (now - c->log_since_ms >= LOG_MS) {
        c->log_since_ms = now;
        c->logged = 0;
    }
    if (c->logged >= LOG_LINES_MAX) {
        c->w->stats.agent_log_dropped++;
        return false;
    }
    if (++c->logged == LOG_LINES_MAX)
        log_warn("agent logs too much, the rest is dropped", LOG_S("of", c->label));
    return true;
}

static bool on_log_line(const char *line, size_t len, void *arg)
{
    struct exec_child *c = arg;
    char text[LOG_LINE_MAX + 1];

    if (!may_log(c))
        return true;
    snprintf(text, sizeof(text), "%.*s", line ? (int)len : 0, line ? line : "");
    log_info("agent", LOG_S("run", c->label),
             LOG_S("stderr", line ? text : "(too long)"));
    return true;
}

static size_t read_err(struct exec_child *c, size_t max, bool *ret_closed)
{
    char bytes[4096];
    ssize_t n = read(c->p.err, bytes, max < sizeof(bytes) ? max : sizeof(bytes));

    *ret_closed = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n <= 0)
        return 0;
    exec_lines_feed(&c->log_lines, bytes, (size_t)n, on_log_line, c);
    return (size_t)n;
}

static void on_err(evutil_socket_t fd, short what, void *arg)
{
    struct exec_child *c = arg;
    bool closed;

    (void)fd, (void)what;
    read_err(c, READ_SIZE, &closed);
    if (closed) {
        exec_lines_end(&c->log_lines, on_log_line, c);
        close_event(&c->err, &c->p.err);
    }
}

static void on_in(evutil_socket_t fd, short what, void *arg)
{
    struct exec_child *c = arg;
    ssize_t n = write(fd, c->input.data, c->input.len);

    (void)what;
    if (n > 0)
        buf_consume(&c->input, (size_t)n);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        close_event(&c->in, &c->p.in); /* it does not want it */
        buf_clear(&c->input);
    } else if (c->input.len == 0 && c->keep) {
        event_del(c->in);
    } else if (c->input.len == 0) {
        close_event(&c->in, &c->p.in);
    }
}

void exec_child_write(struct exec_child *c)
{
    if (c->in)
        event_add(c->in, NULL);
    else
        buf_clear(&c->input);
}

void exec_child_close_input(struct exec_child *c)
{
    close_event(&c->in, &c->p.in);
}

void exec_child_pause(struct exec_child *c)
{
    c->paused = true;
    if (c->out)
        event_del(c->out);
}

void exec_child_resume(struct exec_child *c)
{
    c->paused = false;
    if (c->out)
        event_add(c->out, NULL);
}

/* --- its death -------------------------------------------------------------------- */

/* What it had written is still to be read: no more than a pipe holds, because somebody
 * whom it left behind may hold the other end and write for ever. */
static void drain(struct exec_child *c, int fd,
                  size_t (*read_some)(struct exec_child *c, size_t max, bool *closed))
{
    int size = fcntl(fd, F_GETPIPE_SZ);
    size_t left = size > 0 ? (size_t)size : PIPE_SIZE, n = 1;
    int more = 0;
    bool closed = false;

    while (n > 0 && left > 0) {
        n = read_some(c, left, &closed);
        left -= n;
    }
    if (!closed && ioctl(fd, FIONREAD, &more) == 0 && more > 0) {
        c->w->stats.agent_after_end++;
        log_warn("agent has gone, what follows is not read", LOG_S("of", c->label));
    }
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct exec_child *c = arg;
    struct exec_death death;
    struct rusage used = {0};
    siginfo_t si = {0};
    int status = 0;

    (void)what;
    if (waitid(P_PIDFD, (id_t)fd, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == 0)
        return;
    /* Before it is waited for: until then the group's number is nobody else's. */
    signal_group(c, SIGKILL);
    wait4(c->p.pid, &status, WNOHANG, &used);
    c->p.pid = 0;
    timer_stop(c->kill);
    if (c->out) {
        drain(c, c->p.out, read_out);
        exec_lines_end(&c->lines, c->owner->on_line, c->arg);
    }
    if (c->err) {
        drain(c, c->p.err, read_err);
        exec_lines_end(&c->log_lines, on_log_line, c);
    }
    exec_death_of(c, status, &used, &death);
    c->owner->on_gone(&death, c->arg);
    child_free(c);
}

void exec_child_kill(struct exec_child *c)
{
    static const struct exec_death death = {.code = "agent_signal",
                                            .message = "The worker leaves."};

    signal_group(c, SIGKILL);
    if (exec_child_lives(c))
        waitpid(c->p.pid, NULL, 0);
    c->p.pid = 0;
    c->owner->on_gone(&death, c->arg);
    child_free(c);
}

/* --- its birth -------------------------------------------------------------------- */

static bool watch(struct exec_child *c)
{
    struct event_base *base = loop_base(c->w->loop);

    c->in = event_new(base, c->p.in, EV_WRITE | EV_PERSIST, on_in, c);
    c->out = event_new(base, c->p.out, EV_READ | EV_PERSIST, on_out, c);
    c->err = event_new(base, c->p.err, EV_READ | EV_PERSIST, on_err, c);
    c->gone = event_new(base, c->p.pidfd, EV_READ | EV_PERSIST, on_gone, c);
    return c->in && c->out && c->err && c->gone && event_add(c->out, NULL) == 0 &&
           event_add(c->err, NULL) == 0 && event_add(c->gone, NULL) == 0;
}

static struct exec_child *child_make(struct worker *w, const struct exec_options *o,
                                     const char *label)
{
    struct exec_child *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->w = w;
    c->p = (struct exec_process){.pidfd = -1, .in = -1, .out = -1, .err = -1};
    c->cpu_limit_s = o->cpu_limit_s;
    c->memory_limit_mb = o->memory_limit_mb;
    snprintf(c->label, sizeof(c->label), "%s", label);
    uuid_new(c->mark);
    list_init(&c->node);
    buf_init(&c->input);
    exec_lines_init(&c->lines, EXEC_LINE_MAX);
    exec_lines_init(&c->log_lines, LOG_LINE_MAX);
    c->kill = timer_new(w->loop, on_kill_timer, c);
    return c;
}

struct exec_child *exec_child_new(struct worker *w, const struct exec_options *o,
                                  const struct agent_input *in, const char *label,
                                  const struct exec_owner *owner, void *arg)
{
    struct exec_child *c = child_make(w, o, label);
    int e = ENOMEM;

    if (!c)
        return NULL;
    c->owner = owner;
    c->arg = arg;
    exec_orphans_begin(w);
    if (c->kill) {
        if (exec_spawn(o, c->mark, in, &c->p) && watch(c)) {
            list_push(&w->processes, &c->node);
            w->stats.agent_processes_started++;
            return c;
        }
        e = errno;
        log_error("agent cannot be started", LOG_S("of", label),
                  LOG_S("why", strerror(e)));
    }
    signal_group(c, SIGKILL);
    if (exec_child_lives(c))
        waitpid(c->p.pid, NULL, 0);
    c->p.pid = 0;
    child_free(c);
    errno = e;
    return NULL;
}
