/* exec_orphans: told apart by THREADCAST_PROCESS in their environment, which the program
 * got and they inherited. One whose program still works is left alone until that goes;
 * one that took the mark away belongs to nobody and goes at once.
 *
 * It must never wait for a program of exec_child: that does it itself. */
#include "worker/agents/exec_orphans.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "worker/agents/exec_child.h"
#include "worker/worker.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK "THREADCAST_PROCESS="

enum { FILE_MAX = 1 << 20, NAMELESS_MAX = 32, NAMELESS_MS = 100 };

struct exec_orphans {
    struct event *child; /* SIGCHLD */
    /* without an environment: for good, or only while they become another program */
    struct {
        pid_t pid;
        int64_t since_ms;
    } nameless[NAMELESS_MAX];
    size_t count;
    struct timer *again; /* they are looked at once more */
};

static bool read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char bytes[4096];
    ssize_t n;

    if (fd < 0)
        return false;
    while (out->len < FILE_MAX && (n = read(fd, bytes, sizeof(bytes))) > 0)
        buf_add(out, bytes, (size_t)n);
    buf_char(out, '\0');
    close(fd);
    return !out->failed;
}

static bool read_children(struct buf *out)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    return read_file(path, out);
}

static bool is_program(const struct worker *w, pid_t pid)
{
    LIST_EACH(node, tmp, (struct list *)&w->processes) {
        if (LIST_ITEM(node, struct exec_child, node)->p.pid == pid)
            return true;
    }
    return false;
}

/* Does the program live of which this environment is? */
static bool is_of_a_program(const struct worker *w, const struct buf *environment)
{
    const char *at = environment->data, *end = at + environment->len;

    for (; at < end; at += strlen(at) + 1) {
        if (strncmp(at, MARK, sizeof(MARK) - 1) != 0)
            continue;
        LIST_EACH(node, tmp, (struct list *)&w->processes) {
            const struct exec_child *c = LIST_ITEM(node, struct exec_child, node);
            if (exec_child_lives(c) && strcmp(c->mark, at + sizeof(MARK) - 1) == 0)
                return true;
        }
    }
    return false;
}

/* Has it had no environment for a while? No: it is looked at again. */
static bool is_nameless(struct exec_orphans *o, pid_t pid)
{
    int64_t now = clock_ms();

    for (size_t i = 0; i < o->count; i++) {
        if (o->nameless[i].pid != pid)
            continue;
        if (now - o->nameless[i].since_ms < NAMELESS_MS)
            return false;
        o->nameless[i] = o->nameless[--o->count];
        return true;
    }
    timer_start(o->again, NAMELESS_MS);
    if (o->count < NAMELESS_MAX) {
        o->nameless[o->count].pid = pid;
        o->nameless[o->count++].since_ms = now;
    }
    return false;
}

static bool belongs_to_nobody(struct worker *w, pid_t pid)
{
    struct buf environment;
    char path[64];
    bool nobody = false;

    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    buf_init(&environment);
    if (read_file(path, &environment))
        nobody = environment.len > 1 ? !is_of_a_program(w, &environment)
                                     : is_nameless(w->orphans, pid);
    buf_fini(&environment);
    return nobody;
}

static void look_at(struct worker *w, pid_t pid)
{
    if (is_program(w, pid) || waitpid(pid, NULL, WNOHANG) != 0)
        return;
    if (!list_empty(&w->processes) && !belongs_to_nobody(w, pid))
        return;
    log_warn("an agent left a process behind, killed", LOG_I("pid", pid));
    w->stats.agent_orphans_killed++;
    kill(pid, SIGKILL);
}

void exec_orphans_look(struct worker *w)
{
    struct buf children;
    char *at, *end;

    if (!w->orphans || !w->orphans->again)
        return;
    buf_init(&children);
    if (read_children(&children)) {
        for (at = children.data;; at = end) {
            long pid = strtol(at, &end, 10);
            if (end == at)
                break;
            look_at(w, (pid_t)pid);
        }
    }
    buf_fini(&children);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    exec_orphans_look(arg);
}

static void on_again(void *arg)
{
    struct exec_orphans *o = ((struct worker *)arg)->orphans;

    exec_orphans_look(arg);
    /* those who have gone, or have one now */
    for (size_t i = 0; i < o->count;) {
        if (clock_ms() - o->nameless[i].since_ms >= NAMELESS_MS)
            o->nameless[i] = o->nameless[--o->count];
        else
            i++;
    }
    if (o->count > 0)
        timer_start(o->again, NAMELESS_MS);
}

void exec_orphans_begin(struct worker *w)
{
    struct exec_orphans *o;
    struct buf children;

    if (w->orphans)
        return;
    buf_init(&children);
    o = read_children(&children) && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
            ? calloc(1, sizeof(*o))
            : NULL;
    buf_fini(&children);
    if (!o)
        return;
    w->orphans = o;
    o->again = timer_new(w->loop, on_again, w);
    o->child = evsignal_new(loop_base(w->loop), SIGCHLD, on_child, w);
    if (o->child && o->again)
        event_add(o->child, NULL);
}

void exec_orphans_end(struct worker *w)
{
    if (!w->orphans)
        return;
    exec_orphans_look(w);
    if (w->orphans->child)
        event_free(w->orphans->child);
    timer_free(w->orphans->again);
    free(w->orphans);
    w->orphans = NULL;
}
