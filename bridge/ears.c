/* ears: an epoll instance inside the loop's own. A turn hears some of those who have
 * something to say; the others wait for the next one, so that thousands who leave at once
 * do not hold up those who stay. */
#include "bridge/ears.h"

#include "common/loop.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { HEARD_A_TURN = 32 };

struct ears {
    int epoll;
    struct event *ready;
    void (*fn)(void *arg);
};

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct ears *e = arg;
    struct epoll_event heard[HEARD_A_TURN];
    int n = epoll_wait(fd, heard, HEARD_A_TURN, 0);
    (void)what;
    for (int i = 0; i < n; i++)
        e->fn(heard[i].data.ptr);
}

struct ears *ears_new(struct loop *l, void (*fn)(void *arg))
{
    struct ears *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->fn = fn;
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll >= 0)
        e->ready = event_new(loop_base(l), e->epoll, EV_READ | EV_PERSIST, on_ready, e);
    if (e->ready && event_add(e->ready, NULL) == 0)
        return e;
    ears_free(e);
    return NULL;
}

void ears_free(struct ears *e)
{
    if (!e)
        return;
    if (e->ready)
        event_free(e->ready);
    if (e->epoll >= 0)
        close(e->epoll);
    free(e);
}

bool ears_add(struct ears *e, int fd, void *arg)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = arg};
    return epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

void ears_remove(struct ears *e, int fd)
{
    epoll_ctl(e->epoll, EPOLL_CTL_DEL, fd, NULL);
}
