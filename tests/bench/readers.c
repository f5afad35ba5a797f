/* The readers' thread must never be what limits a server, so it looks for marks in the
 * bytes and parses nothing else (but the ids, when cursors are wanted). */
#include "readers.h"
#include "mark.h"
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256 * 1024)
#define TURN_EVENTS 512
#define TURN_MS 20 /* how often the thread looks whether it shall stop */

static void add(atomic_ullong *counter, unsigned long long n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static unsigned reader_mark(struct readers *r, struct reader *reader, struct mark mark,
                            uint64_t at_ns)
{
    if (mark.number == 0) {
        if (!reader->ready)
            atomic_fetch_add(&r->ready, 1);
        reader->ready = true;
        return 0;
    }
    if (mark.number > reader->number) {
        reader->missing += mark.number - reader->number - 1;
        reader->number = mark.number;
    } else if (reader->missing > 0) {
        reader->missing--;
        add(&r->reordered, 1);
    } else {
        add(&r->repeated, 1);
        return 0;
    }
    if (mark.sent_ns >= atomic_load_explicit(&r->from_ns, memory_order_relaxed))
        histogram_add(&r->latency, at_ns > mark.sent_ns ? at_ns - mark.sent_ns : 0);
    return 1;
}

/* The marks in these bytes, which begin with the reader's tail. */
static void reader_scan(struct readers *r, struct reader *reader, const char *at,
                        const char *end, uint64_t at_ns)
{
    unsigned events = 0;
    struct mark mark;

    while ((at = memchr(at, '~', (size_t)(end - at))) && end - at >= MARK_BYTES) {
        if (mark_read(at, &mark)) {
            events += reader_mark(r, reader, mark, at_ns);
            at += MARK_BYTES;
        } else {
            at++;
        }
    }
    reader->tail_len = at ? (unsigned)(end - at) : 0;
    memcpy(reader->tail, at ? at : end, reader->tail_len);
    if (events > 0)
        add(&r->received, events);
}

static void cursor_line(struct cursor *c, const char *line, size_t len)
{
    if (len == 0) { /* the event is complete */
        if (c->pending[0])
            memcpy(c->id, c->pending, sizeof(c->id));
        c->pending[0] = '\0';
    } else if (len > 3 && len < CURSOR_BYTES && memcmp(line, "id:", 3) == 0) {
        size_t skip = line[3] == ' ' ? 4 : 3;
        memcpy(c->pending, line + skip, len - skip);
        c->pending[len - skip] = '\0';
    }
}

/* The ids in these bytes. Lines that end with CR LF are the framing of chunks. */
static void cursor_scan(struct cursor *c, const char *at, const char *end)
{
    while (at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((nl ? nl : end) - at), room = sizeof(c->line) - c->line_len;
        if (nl && c->line_len == 0) {
            cursor_line(c, at, len);
        } else {
            memcpy(c->line + c->line_len, at, len < room ? len : room);
            c->line_len += (unsigned)(len < room ? len : room);
            if (nl)
                cursor_line(c, c->line, c->line_len);
        }
        if (!nl)
            return;
        c->line_len = 0;
        at = nl + 1;
    }
}

static void reader_end(struct readers *r, struct reader *reader)
{
    epoll_ctl(r->epoll, EPOLL_CTL_DEL, reader->fd, NULL);
    if (reader->state == READER_OPEN)
        atomic_fetch_add(&r->ended, 1);
    else
        atomic_fetch_add(&r->refused, 1);
    reader->state = READER_ENDED;
}

/* The first bytes of an answer: is it a stream? */
static void reader_answer(struct readers *r, struct reader *reader, const char *bytes,
                          size_t len)
{
    /* anywhere, and maybe later: webdis may send an event before its answer's head */
    if (!memmem(bytes, len, "HTTP/1.", 7))
        return;
    if (memmem(bytes, len, "HTTP/1.1 200", 12)) {
        reader->state = READER_OPEN;
        atomic_fetch_add(&r->answered, 1);
        return;
    }
    if (atomic_fetch_add(&r->refused, 1) == 0)
        fprintf(stderr, "bench_load: the first refusal: %.*s\n",
                (int)(len < 300 ? len : 300), bytes);
    reader->state = READER_REFUSED;
}

static void reader_read(struct readers *r, struct reader *reader)
{
    char *bytes = r->buffer + sizeof(reader->tail);
    ssize_t n = recv(reader->fd, bytes, READ_BYTES, MSG_DONTWAIT);
    uint64_t at_ns = now_ns();

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            reader_end(r, reader);
        return;
    }
    add(&r->bytes, (unsigned long long)n);
    if (reader->state == READER_ASKED)
        reader_answer(r, reader, bytes, (size_t)n);
    if (r->cursors)
        cursor_scan(&r->cursors[reader - r->all], bytes, bytes + n);
    memcpy(bytes - reader->tail_len, reader->tail, reader->tail_len);
    reader_scan(r, reader, bytes - reader->tail_len, bytes + n, at_ns);
}

static void *readers_run(void *arg)
{
    struct readers *r = arg;
    struct epoll_event events[TURN_EVENTS];

    while (!atomic_load(&r->stop)) {
        int n = epoll_wait(r->epoll, events, TURN_EVENTS, TURN_MS);
        for (int i = 0; i < n; i++)
            reader_read(r, events[i].data.ptr);
    }
    return NULL;
}

void readers_init(struct readers *r, const struct readers_conf *conf)
{
    memset(r, 0, sizeof(*r));
    r->conf = *conf;
    r->all = calloc((size_t)conf->count + 1, sizeof(*r->all));
    r->buffer = malloc(READ_BYTES + sizeof(r->all->tail));
    if (conf->cursors)
        r->cursors = calloc((size_t)conf->count + 1, sizeof(*r->cursors));
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!r->all || !r->buffer || r->epoll < 0 || (conf->cursors && !r->cursors))
        die("readers");
    for (int i = 0; i < conf->count; i++)
        r->all[i].fd = -1;
}

void readers_fini(struct readers *r)
{
    readers_close(r);
    close(r->epoll);
    free(r->cursors);
    free(r->buffer);
    free(r->all);
}

static bool reader_open(struct readers *r, int index)
{
    struct reader *reader = &r->all[index];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
    char path[512], request[8192];
    const char *id = r->cursors ? r->cursors[index].id : "";
    int len;

    net_fill(path, sizeof(path), r->conf.path,
             (unsigned)(r->conf.first + index % r->conf.threads));
    len =
        snprintf(request, sizeof(request),
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                 "%s%s%s%s%s\r\n",
                 path, r->conf.header ? r->conf.header : "", r->conf.header ? "\r\n" : "",
                 id[0] ? "Last-Event-ID: " : "", id, id[0] ? "\r\n" : "");
    reader->fd = net_connect(r->conf.port, index, 0);
    reader->state = READER_ASKED;
    reader->tail_len = 0;
    return reader->fd >= 0 && len < (int)sizeof(request) &&
           epoll_ctl(r->epoll, EPOLL_CTL_ADD, reader->fd, &event) == 0 &&
           net_write(reader->fd, request, (size_t)len);
}

bool readers_open(struct readers *r)
{
    bool all = true;

    atomic_store(&r->stop, false);
    atomic_store(&r->answered, 0);
    if (pthread_create(&r->thread, NULL, readers_run, r) != 0)
        die("a thread");
    for (int i = 0; i < r->conf.count; i++)
        all = reader_open(r, i) && all;
    return all;
}

void readers_close(struct readers *r)
{
    if (!r->thread)
        return;
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    r->thread = 0;
    for (int i = 0; i < r->conf.count; i++) {
        if (r->all[i].fd >= 0)
            net_cut(r->all[i].fd);
        r->all[i].fd = -1;
        r->all[i].state = READER_CLOSED;
        if (r->cursors) /* half a line and half an event are not remembered */
            r->cursors[i].line_len = r->cursors[i].pending[0] = 0;
    }
}

int readers_of(const struct readers *r, int thread)
{
    int more = thread < r->conf.count % r->conf.threads;

    return r->conf.count / r->conf.threads + more;
}
