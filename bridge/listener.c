/* listener: see listener.h. Takes at most a handful of connections a turn, so that a
 * flood of them does not hold up the streams. Never spins: when descriptors run out it
 * stops listening until one is free again, and the backlog waits in the kernel. So does
 * who comes before it is known who is revoked: a moment, not a refusal at each start. */
#include "bridge/listener.h"

#include "bridge/address.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/limits.h"
#include "bridge/revoked.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 16
#define ACCEPTS_IN_A_CROWD 2
#define PAUSE_MS 100
#define LOOK_MS 5
#define WARN_EVERY_MS 60000
#define BACKLOG 4096

struct listener {
    struct bridge *b;
    bool admin;
    int fd;
    int reserve; /* kept open for when descriptors run out; -1: lent, or not to be had */
    struct event *ready;
    struct timer *pause; /* running: not accepting, descriptors ran out, or too early */
    int64_t early_ms;    /* until then it may be too early; 0: it is not */
    int64_t warned_ms;   /* 0: never */
};

enum accepted { ACCEPTED, ACCEPT_NOTHING, ACCEPT_BAD_LUCK, ACCEPT_SHORT };

/* One connection; `lent`: it has the reserve's place. */
static enum accepted take_one(struct listener *l, bool lent)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    int one = 1;
    int fd = accept4(l->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        l->b->stats.accepted++;
        conn_accept(l->b, fd, (struct sockaddr *)&addr, len,
                    (lent ? CONN_LENT : 0) | (l->admin ? CONN_ADMIN : 0));
        return ACCEPTED;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return ACCEPT_NOTHING;
    if (errno != EINTR)
        l->b->stats.accept_errors++;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        return ACCEPT_SHORT;
    /* ECONNABORTED and the network errors of Linux belong to that one connection */
    return ACCEPT_BAD_LUCK;
}

/* --- when descriptors run out ------------------------------------------------------- */

static bool keep_reserve(struct listener *l)
{
    if (l->reserve < 0)
        l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return l->reserve >= 0;
}

static bool reserve_back(struct listener *l)
{
    bool away = l->reserve < 0;

    if (!keep_reserve(l))
        return false;
    if (away)
        limits_reserve_lent(l->b->limits, -1);
    return true;
}

static void pause_accepting(struct listener *l)
{
    event_del(l->ready);
    timer_start(l->pause, PAUSE_MS);
}

/* The reserve makes room for one, and is got back when any descriptor is free again: at
 * the end of a turn, or after the pause. When it was not that which lacked (no memory, an
 * error that stays), it is back at once, and only the pause goes on. */
static void lend_reserve(struct listener *l)
{
    limits_reserve_lent(l->b->limits, +1);
    close(l->reserve);
    l->reserve = -1;
    if (take_one(l, true) == ACCEPTED)
        l->b->stats.reserve_lent++;
    else
        reserve_back(l);
}

static void run_short(struct listener *l, int error)
{
    int64_t now = clock_ms();

    if (!l->warned_ms || now - l->warned_ms >= WARN_EVERY_MS) {
        log_warn("a connection could not be accepted", LOG_S("error", strerror(error)),
                 LOG_I("reactor", l->b->number));
        l->warned_ms = now;
    }
    lend_reserve(l);
    pause_accepting(l);
}

static void resume_accepting(struct listener *l)
{
    if (reserve_back(l) && event_add(l->ready, NULL) == 0) {
        timer_stop(l->pause);
    } else if (!timer_running(l->pause)) {
        timer_start(l->pause, PAUSE_MS);
    }
}

/* Is it too early to say of anybody whether they are revoked? */
static bool too_early(struct listener *l)
{
    struct revoked *revoked = l->b->revoked;

    if (l->early_ms &&
        (l->admin || !revoked || revoked_known(revoked) || clock_ms() >= l->early_ms))
        l->early_ms = 0;
    return l->early_ms != 0;
}

static void on_pause_over(void *arg)
{
    struct listener *l = arg;

    if (too_early(l))
        timer_start(l->pause, LOOK_MS);
    else
        resume_accepting(l);
}

void listener_turn_end(struct listener *l)
{
    if (l && l->reserve < 0)
        resume_accepting(l);
}

/* ------------------------------------------------------------------------------------ */

/* Not faster than they are served: who waits in the kernel is not turned away. */
static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;
    bool crowd = !l->admin && conns_crowded(l->b);
    int most = crowd ? ACCEPTS_IN_A_CROWD : ACCEPTS_A_TURN;

    (void)fd;
    (void)what;
    for (int i = 0; i < most; i++) {
        switch (take_one(l, false)) {
        case ACCEPTED:
        case ACCEPT_BAD_LUCK:
            break;
        case ACCEPT_NOTHING:
            return;
        case ACCEPT_SHORT:
            run_short(l, errno);
            return;
        }
    }
}

void listener_take_rest(struct listener *l)
{
    for (int i = 0; i < BACKLOG; i++) {
        enum accepted got = take_one(l, false);
        if (got == ACCEPT_NOTHING || got == ACCEPT_SHORT)
            return;
    }
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

void listener_address(const struct listener *l, char out[LISTENER_ADDRESS_SIZE])
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;

    _Static_assert(LISTENER_ADDRESS_SIZE >= ADDRESS_SIZE, "room for an address");
    out[0] = '\0';
    if (getsockname(l->fd, (struct sockaddr *)&addr, &len) == 0)
        address_format((struct sockaddr *)&addr, len, out);
}

struct listener *listener_new(struct bridge *b, const char *address, bool admin,
                              struct buf *err)
{
    struct listener *l = calloc(1, sizeof *l);

    if (!l) {
        buf_str(err, "out of memory");
        return NULL;
    }
    l->b = b;
    l->admin = admin;
    l->reserve = -1;
    l->fd = open_socket(address, err);
    if (l->fd < 0)
        goto fail;
    l->pause = timer_new(b->loop, on_pause_over, l);
    l->ready = event_new(loop_base(b->loop), l->fd, EV_READ | EV_PERSIST, on_ready, l);
    if (!l->pause || !l->ready) {
        buf_str(err, "out of memory");
        goto fail;
    }
    if (!keep_reserve(l)) {
        buf_printf(err, "no descriptor to keep in reserve: %s", strerror(errno));
        goto fail;
    }
    l->early_ms = clock_ms() + b->conf->upstream_timeout_ms;
    on_pause_over(l);
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
    if (l->reserve >= 0)
        close(l->reserve);
    free(l);
}
