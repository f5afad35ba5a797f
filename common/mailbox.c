/* mailbox: a list behind a lock, and a descriptor that wakes the loop when the list stops
 * being empty. The whole list is taken at once, so a letter may post another. */
#include "common/mailbox.h"

#include "common/loop.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
    pthread_mutex_t lock; /* of `letters` */
    struct list letters;
    struct event *arrived;
    int fd;
};

static void take_all(struct mailbox *m, struct list *ret)
{
    struct list *node;

    pthread_mutex_lock(&m->lock);
    while ((node = list_pop(&m->letters)))
        list_push(ret, node);
    pthread_mutex_unlock(&m->lock);
}

bool mailbox_deliver(struct mailbox *m)
{
    struct list taken, *node;
    bool any = false;

    list_init(&taken);
    take_all(m, &taken);
    while ((node = list_pop(&taken))) {
        struct letter *letter = LIST_ITEM(node, struct letter, node);
        any = true;
        letter->fn(letter); /* may free it */
    }
    return any;
}

static void on_arrived(evutil_socket_t fd, short what, void *arg)
{
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) > 0)
        mailbox_deliver(arg);
}

struct mailbox *mailbox_new(struct loop *l)
{
    struct mailbox *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    list_init(&m->letters);
    pthread_mutex_init(&m->lock, NULL);
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->fd >= 0)
        m->arrived = event_new(loop_base(l), m->fd, EV_READ | EV_PERSIST, on_arrived, m);
    if (m->arrived && event_add(m->arrived, NULL) == 0)
        return m;
    mailbox_free(m);
    return NULL;
}

void mailbox_free(struct mailbox *m)
{
    if (!m)
        return;
    if (m->arrived)
        event_free(m->arrived);
    if (m->fd >= 0)
        close(m->fd);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void mailbox_post(struct mailbox *m, struct letter *letter)
{
    uint64_t one = 1;
    bool first;

    pthread_mutex_lock(&m->lock);
    first = list_empty(&m->letters);
    list_push(&m->letters, &letter->node);
    pthread_mutex_unlock(&m->lock);
    /* can only fail when the counter is full, and then the loop is awake */
    if (first && write(m->fd, &one, sizeof(one)) < 0)
        return;
}
