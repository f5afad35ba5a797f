/* farm: the schedule. Who waits for a connection stands in one line; a port that does not
 * answer holds back its own readers and nobody else's. */
#include "tests/faults/readers/farm.h"

#include "tests/faults/readers/commands.h"
#include "tests/faults/readers/mem.h"

#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_TURN = 512, WAIT_MAX_MS = 1000 };

static int64_t clock_of(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void farm_now(struct farm *f)
{
    f->now_ms = clock_of(CLOCK_MONOTONIC);
    f->wall_ms = clock_of(CLOCK_REALTIME);
}

struct farm *farm_new(const struct farm_conf *conf)
{
    struct farm *f = mem_zero(sizeof(*f));

    f->conf = *conf;
    f->random = conf->seed;
    f->book.seed = conf->seed;
    f->events = event_cache_new(&f->book);
    f->queue_end = &f->queue;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    farm_now(f);
    return f;
}

void farm_free(struct farm *f)
{
    for (size_t i = 0; i < f->reader_size; i++)
        reader_free(f->readers[i]);
    free(f->readers);
    free(f->line.text);
    wakes_fini(&f->wakes);
    event_cache_free(f->events);
    book_fini(&f->book);
    close(f->epoll);
    free(f);
}

/* --- readers ---------------------------------------------------------------------- */

struct reader *farm_reader(const struct farm *f, uint64_t number)
{
    return number < f->reader_size ? f->readers[number] : NULL;
}

void farm_add(struct farm *f, struct reader *r)
{
    if (r->number >= f->reader_size) {
        size_t size = f->reader_size ? f->reader_size : 256;
        while (size <= r->number)
            size *= 2;
        f->readers = mem_more(f->readers, size, sizeof(*f->readers));
        memset(f->readers + f->reader_size, 0,
               (size - f->reader_size) * sizeof(*f->readers));
        f->reader_size = size;
    }
    f->readers[r->number] = r;
    f->reader_count++;
}

/* --- ports ------------------------------------------------------------------------ */

static struct port *port_find(struct farm *f, int number)
{
    for (size_t i = 0; i < f->port_count; i++)
        if (f->ports[i].number == number)
            return &f->ports[i];
    if (f->port_count == PORTS_MAX)
        return NULL;
    f->ports[f->port_count].number = number;
    return &f->ports[f->port_count++];
}

void farm_set_ports(struct farm *f, const int *numbers, size_t count)
{
    for (size_t i = 0; i < f->port_count; i++)
        f->ports[i].active = false;
    f->active_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct port *port = port_find(f, numbers[i]);
        if (port && !port->active) {
            port->active = true;
            f->active_count++;
        }
    }
}

/* The i-th of those in use. */
static struct port *port_at(struct farm *f, size_t i)
{
    for (size_t k = 0; k < f->port_count; k++)
        if (f->ports[k].active && i-- == 0)
            return &f->ports[k];
    return NULL;
}

void farm_queue(struct farm *f, struct reader *r)
{
    r->next_queued = NULL;
    *f->queue_end = r;
    f->queue_end = &r->next_queued;
}

void port_answered(struct port *port)
{
    port->opening--;
}

/* Connects who waits and may; the others keep their order. */
static void serve_queue(struct farm *f)
{
    struct reader *r = f->queue;

    if (!r || !f->active_count)
        return;
    f->queue = NULL;
    f->queue_end = &f->queue;
    while (r) {
        struct reader *next = r->next_queued;
        struct port *port = port_at(f, (r->number + r->connections) % f->active_count);
        if (r->state == READER_QUEUED && port->opening < OPENING_MAX) {
            port->opening++;
            reader_connect(r, port);
        } else if (r->state == READER_QUEUED) {
            farm_queue(f, r);
        }
        r = next;
    }
}

/* --- turns ------------------------------------------------------------------------ */

static void turn(struct farm *f)
{
    struct epoll_event events[EVENTS_TURN];
    int wait_ms = wakes_wait(&f->wakes, f->now_ms, WAIT_MAX_MS);
    int count = epoll_wait(f->epoll, events, EVENTS_TURN, wait_ms);
    struct reader *r;
    bool commands = false;

    farm_now(f);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            reader_on_events(events[i].data.ptr, events[i].events);
        else
            commands = true;
    }
    while ((r = wakes_due(&f->wakes, f->now_ms)))
        reader_on_wake(r);
    if (commands)
        f->over = !commands_read(f);
    serve_queue(f);
}

bool farm_run(struct farm *f)
{
    struct epoll_event on_stdin = {.events = EPOLLIN};

    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &on_stdin) != 0)
        return false;
    while (!f->over)
        turn(f);
    return true;
}
