/* host: see host.h. Nothing here is taken from the machine, so that an input always does
 * the same. */
#include "host.h"

#include "../fuzz.h"
#include "bridge/ears.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>
#include <unistd.h>

struct host host;

/* --- memory ------------------------------------------------------------------------- */

/* NOLINTBEGIN(bugprone-reserved-identifier): the names that --wrap makes */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *p);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);
int __real_close(int fd);
ssize_t __real_recv(int fd, void *out, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
int __real_shutdown(int fd, int how);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);
int __wrap_close(int fd);
ssize_t __wrap_recv(int fd, void *out, size_t size, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_shutdown(int fd, int how);

static bool fails(void)
{
    if (host.safe || !host.fail_count)
        return false;
    if (host.fail_after > 0) {
        host.fail_after--;
        return false;
    }
    host.fail_count--;
    host.refused++;
    return true;
}

static void *counted(void *p)
{
    host.allocated += p != NULL;
    return p;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    host.allocated -= old != NULL;
    return counted(__real_realloc(old, size));
}

char *__wrap_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = __wrap_malloc(size);

    return copy ? memcpy(copy, s, size) : NULL;
}

void __wrap_free(void *p)
{
    host.allocated -= p != NULL;
    __real_free(p);
}

/* An input always does the same: the order of maps is no accident either. */
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
    (void)flags;
    memset(out, 7, size);
    return (ssize_t)size;
}

/* --- sockets ------------------------------------------------------------------------ */

static struct host_socket *socket_of(int fd)
{
    if (fd < HOST_FD)
        return NULL;
    MUST(fd < HOST_FD + HOST_SOCKETS && host.sockets[fd - HOST_FD].used);
    return &host.sockets[fd - HOST_FD];
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct host_socket *s = socket_of(fd);
    size_t done = 0;

    if (!s)
        return __real_sendmsg(fd, msg, flags);
    MUST(!s->half && (flags & MSG_DONTWAIT));
    if (s->reset || !s->room) {
        errno = s->reset ? EPIPE : EAGAIN;
        return -1;
    }
    host.safe++;
    for (size_t i = 0; i < msg->msg_iovlen && s->room; i++) {
        const struct iovec *v = &msg->msg_iov[i];
        size_t part = v->iov_len < s->room ? v->iov_len : s->room;
        s->on_bytes(fd - HOST_FD, v->iov_base, part);
        s->room -= part;
        done += part;
    }
    host.safe--;
    return (ssize_t)done;
}

ssize_t __wrap_recv(int fd, void *out, size_t size, int flags)
{
    struct host_socket *s = socket_of(fd);

    if (!s)
        return __real_recv(fd, out, size, flags);
    if (s->incoming < 0)
        return 0;
    if (!s->incoming) {
        errno = EAGAIN;
        return -1;
    }
    size_t n = (size_t)s->incoming < size ? (size_t)s->incoming : size;
    memset(out, 'x', n);
    s->incoming -= (long)n;
    return (ssize_t)n;
}

int __wrap_shutdown(int fd, int how)
{
    struct host_socket *s = socket_of(fd);

    if (!s)
        return __real_shutdown(fd, how);
    s->half = true;
    return 0;
}

int __wrap_close(int fd)
{
    struct host_socket *s = socket_of(fd);

    if (!s)
        return __real_close(fd);
    s->used = false;
    host.safe++;
    s->on_close(fd - HOST_FD);
    host.safe--;
    return 0;
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* --- libevent: its structs, in a table while they are added ----------------------- */

enum { EVENTS_MAX = 256 };

static struct event *events[EVENTS_MAX];
static struct list timers;

int event_assign(struct event *e, struct event_base *base, evutil_socket_t fd, short what,
                 event_callback_fn fn, void *arg)
{
    (void)base;
    memset(e, 0, sizeof(*e));
    e->ev_fd = fd;
    e->ev_events = what;
    e->ev_evcallback.evcb_cb_union.evcb_callback = fn;
    e->ev_evcallback.evcb_arg = arg;
    return 0;
}

struct event *event_new(struct event_base *base, evutil_socket_t fd, short what,
                        event_callback_fn fn, void *arg)
{
    struct event *e = malloc(sizeof(*e));

    if (e)
        event_assign(e, base, fd, what, fn, arg);
    return e;
}

static struct event **place_of(const struct event *e)
{
    for (int i = 0; i < EVENTS_MAX; i++)
        if (events[i] == e)
            return &events[i];
    return NULL;
}

int event_add(struct event *e, const struct timeval *timeout)
{
    struct event **place = place_of(e);

    MUST(!timeout);
    if (!place)
        place = place_of(NULL);
    MUST(place);
    *place = e;
    return 0;
}

int event_del(struct event *e)
{
    struct event **place = place_of(e);

    if (place)
        *place = NULL;
    return 0;
}

void event_free(struct event *e)
{
    event_del(e);
    free(e);
}

static void ready(int socket, short what)
{
    for (int i = 0; i < EVENTS_MAX; i++) {
        struct event *e = events[i];
        if (e && e->ev_fd == socket + HOST_FD && (e->ev_events & what)) {
            e->ev_evcallback.evcb_cb_union.evcb_callback(e->ev_fd, what,
                                                         e->ev_evcallback.evcb_arg);
            return;
        }
    }
}

/* Those who only read have ears in the place of an event each. */
static struct {
    int fd;
    void *arg;
} heard[HOST_SOCKETS];
static void (*hear)(void *arg);

struct ears *ears_new(struct loop *l, void (*fn)(void *arg))
{
    (void)l;
    hear = fn;
    return malloc(1); /* by whom it is freed is seen like everything else */
}

void ears_free(struct ears *e)
{
    free(e);
}

bool ears_add(struct ears *e, int fd, void *arg)
{
    void *watch = malloc(1); /* the kernel's: may fail */

    (void)e;
    if (!watch)
        return false;
    free(watch);
    heard[fd - HOST_FD].fd = fd;
    heard[fd - HOST_FD].arg = arg;
    return true;
}

void ears_remove(struct ears *e, int fd)
{
    (void)e;
    heard[fd - HOST_FD].fd = 0;
}

void host_readable(int socket)
{
    if (heard[socket].fd)
        hear(heard[socket].arg);
}

void host_writable(int socket)
{
    ready(socket, EV_WRITE);
}

/* --- time --------------------------------------------------------------------------- */

struct timer {
    struct list node;
    void (*fn)(void *arg);
    void *arg;
    int64_t due_ms;
    bool running;
};

int64_t clock_ms(void)
{
    return host.now_ms;
}

int64_t clock_us(void)
{
    return host.now_ms * 1000;
}

int64_t clock_wall_ms(void)
{
    return host.now_ms + 1700000000000;
}

void clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE])
{
    (void)wall_ms;
    memcpy(out, "2026-01-01T00:00:00.000Z", CLOCK_ISO_SIZE);
}

int64_t clock_jitter(int64_t ms)
{
    return ms;
}

struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct timer *t = malloc(sizeof(*t));

    (void)l;
    if (!t)
        return NULL;
    *t = (struct timer){.fn = fn, .arg = arg};
    list_push(&timers, &t->node);
    return t;
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    list_remove(&t->node);
    free(t);
}

void timer_start(struct timer *t, int64_t ms)
{
    t->due_ms = host.now_ms + (ms > 0 ? ms : 0);
    t->running = true;
}

void timer_stop(struct timer *t)
{
    t->running = false;
}

bool timer_running(const struct timer *t)
{
    return t->running;
}

static struct timer *next_timer(void)
{
    struct timer *first = NULL;

    LIST_EACH(node, next, &timers) {
        struct timer *t = LIST_ITEM(node, struct timer, node);
        if (t->running && (!first || t->due_ms < first->due_ms))
            first = t;
    }
    return first;
}

void host_advance(int64_t ms, void (*turn)(void))
{
    int64_t until = host.now_ms + ms;
    struct timer *t;

    while ((t = next_timer()) && t->due_ms <= until) {
        if (t->due_ms > host.now_ms)
            host.now_ms = t->due_ms;
        t->running = false;
        t->fn(t->arg);
        turn();
    }
    host.now_ms = until;
}

void host_init(void)
{
    host = (struct host){.now_ms = 1000000};
    memset(events, 0, sizeof(events));
    memset(heard, 0, sizeof(heard));
    list_init(&timers);
}

/* --- the loop: nothing waits in it ---------------------------------------------------
 */

struct event_base *loop_base(struct loop *l)
{
    (void)l;
    return NULL;
}

int64_t loop_lag_us(struct loop *l)
{
    (void)l;
    return 0;
}
