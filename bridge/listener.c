/* listener: see listener.h. Takes at most a handful of connections a turn, so that a
 * flood of them does not hold up the streams. Never spins: when descriptors run out it
 * stops listening for a moment, and the backlog waits in the kernel. */
#include "bridge/listener.h"

#include "bridge/address.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64
#define PAUSE_MS 100
#define BACKLOG 4096

struct listener {
    struct bridge *b;
    int fd;
    struct event *ready;
    struct timer *pause; /* running: not accepting, descriptors ran out */
};

static void take(struct listener *l, int fd, struct sockaddr_storage *addr, socklen_t len)
{
    int one = 1;

    if (addr->ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l->b->stats.accepted++;
    conn_accept(l->b, fd, (struct sockaddr *)addr, len);
}

static void pause_accepting(struct listener *l, int error)
{
    l->b->stats.accept_errors++;
    log_warn("accepting paused", LOG_S("error", strerror(error)));
    event_del(l->ready);
    timer_start(l->pause, PAUSE_MS);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof addr;
        int got =
            accept4(fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (got >= 0) {
            take(l, got, &addr, len);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(l, errno);
            return;
        }
        /* ECONNABORTED and the network errors of Linux belong to that one connection */
        if (errno != EINTR)
            l->b->stats.accept_errors++;
    }
}

static void on_pause_over(void *arg)
{
    struct listener *l = arg;

    event_add(l->ready, NULL);
}

static int open_socket(const char *address, struct buf *err)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int fd, one = 1;

    if (!address_parse(address, &addr, &len, err))
        return -1;
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto fail;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&addr, len) || listen(fd, BACKLOG))
        goto fail;
    return fd;

fail:
    buf_printf(err, "cannot listen on %s: %s", address, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void log_address(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    char text[ADDRESS_SIZE];

    if (getsockname(fd, (struct sockaddr *)&addr, &len))
        return;
    address_format((struct sockaddr *)&addr, len, text);
    log_info("listening", LOG_S("address", text));
}

struct listener *listener_new(struct bridge *b, const char *address, struct buf *err)
{
    struct listener *l = calloc(1, sizeof *l);

    if (!l) {
        buf_str(err, "out of memory");
        return NULL;
    }
    l->b = b;
    l->fd = open_socket(address, err);
    if (l->fd < 0)
        goto fail;
    l->pause = timer_new(b->loop, on_pause_over, l);
    l->ready = event_new(loop_base(b->loop), l->fd, EV_READ | EV_PERSIST, on_ready, l);
    if (!l->pause || !l->ready || event_add(l->ready, NULL)) {
        buf_str(err, "out of memory");
        goto fail;
    }
    log_address(l->fd);
    return l;

fail:
    listener_free(l);
    return NULL;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    if (l->ready)
        event_free(l->ready);
    timer_free(l->pause);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}
