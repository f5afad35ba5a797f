/* The bytes of a connection, both ways:
 *
 *   redis_command ─▶ out ──one write a turn──▶ socket ─▶ reader ─▶ queue's first ─▶
 * caller
 *
 * Never frees and never closes: what goes wrong is said to redis_lose. */
#include "common/redis_internal.h"

#include "common/clock.h"
#include "common/redis_reply.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#define READ_TURN_MAX ((size_t)1 << 20) /* bytes of one turn, then others' turn */
#define READ_BYTES ((size_t)64 << 10)
/* The reader moves what is left of its buffer for every kilobyte of replies taken out,
 * so it is fed in small pieces. */
#define FEED_BYTES ((size_t)8 << 10)
#define OUT_KEEP_BYTES ((size_t)1 << 20)

static void redis_flush(struct redis *r)
{
    size_t done = 0;

    if (!r->bev || r->out.len == 0)
        return;
    if (!r->opt.url->tls && evbuffer_get_length(bufferevent_get_output(r->bev)) == 0) {
        ssize_t n = send(bufferevent_getfd(r->bev), r->out.data, r->out.len,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        done = n > 0 ? (size_t)n : 0; /* an error comes up again where it is handled */
    }
    if (done < r->out.len &&
        bufferevent_write(r->bev, r->out.data + done, r->out.len - done) < 0)
        redis_lose(r, "no memory for output");
    if (r->out.cap > OUT_KEEP_BYTES)
        buf_fini(&r->out), buf_init(&r->out);
    buf_clear(&r->out);
}

static size_t unwritten(const struct redis *r)
{
    return r->out.len +
           (r->bev ? evbuffer_get_length(bufferevent_get_output(r->bev)) : 0);
}

bool redis_command(struct redis *r, const struct redis_pending *p, int argc,
                   const char *const *argv, const size_t *lens)
{
    struct redis_pending pending = *p;
    size_t before = r->out.len, size = redis_command_size(argc, argv, lens);

    if (size > r->opt.output_max || unwritten(r) > r->opt.output_max - size)
        goto refused;
    if (!redis_command_write(&r->out, argc, argv, lens))
        goto refused;
    pending.sent_ms = clock_ms();
    if (!redis_queue_push(&r->queue, &pending)) {
        r->out.len = before;
        goto refused;
    }
    if (before == 0)
        event_active(r->later, EV_TIMEOUT, 0);
    if (!timer_running(r->reply))
        timer_start(r->reply, r->opt.reply_ms);
    r->counters.commands++;
    return true;
refused:
    r->counters.refused++;
    return false;
}

/* Runs soon after what activated it, in the same turn when libevent can. */
void redis_on_later(evutil_socket_t fd, short what, void *arg)
{
    struct redis *r = arg;

    (void)fd;
    (void)what;
    redis_enter(r);
    if (redis_alive(r))
        redis_flush(r);
    redis_leave(r);
}

void redis_distrust(struct redis *r, const char *what)
{
    r->counters.protocol++;
    redis_lose(r, "protocol: %s", what);
}

static void on_reply(struct redis *r, const struct redis_reply *reply)
{
    struct redis_pending p;

    if (r->state == REDIS_READY && r->opt.subscriber) {
        redis_pubsub_reply(r, reply);
        return;
    }
    if (!redis_queue_pop(&r->queue, &p)) {
        redis_distrust(r, "an answer to nothing");
        return;
    }
    if (p.fn)
        p.fn(r, reply, p.arg);
    if (r->sentinel && redis_is_error(reply, "READONLY"))
        redis_lose(r, "it has become a replica");
}

/* false: stop reading, the connection is over. */
static bool redis_input(struct redis *r, const char *data, size_t len)
{
    while (len > 0) {
        size_t piece = len < FEED_BYTES ? len : FEED_BYTES;
        const struct redis_reply *reply;
        enum redis_read what;

        if (!redis_reader_feed(r->reader, data, piece)) {
            redis_lose(r, "no memory for input");
            return false;
        }
        while ((what = redis_reader_next(r->reader, &reply)) == REDIS_READ_REPLY) {
            on_reply(r, reply);
            if (!redis_alive(r))
                return false;
        }
        if (what == REDIS_READ_BAD) {
            redis_distrust(r, redis_reader_error(r->reader));
            return false;
        }
        data += piece;
        len -= piece;
    }
    return true;
}

/* TLS: the records are libevent's business. */
static void read_buffered(struct redis *r)
{
    struct evbuffer *in = bufferevent_get_input(r->bev);

    while (evbuffer_get_length(in) > 0) {
        struct evbuffer_iovec piece;
        if (evbuffer_peek(in, -1, NULL, &piece, 1) < 1 ||
            !redis_input(r, piece.iov_base, piece.iov_len))
            return;
        evbuffer_drain(in, piece.iov_len);
    }
}

/* One recv a turn, and more of them only while it fills the buffer: a bufferevent would
 * ask how much there is, take 4 KiB, and copy it once more. */
static void read_socket(struct redis *r, int fd)
{
    char bytes[READ_BYTES];
    size_t done = 0;

    while (done % sizeof(bytes) == 0 && done < READ_TURN_MAX) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n == 0)
            redis_lose(r, "closed by Redis");
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            redis_lose(r, "%s", strerror(errno));
        if (n <= 0 || !redis_input(r, bytes, (size_t)n))
            return;
        done += (size_t)n;
    }
}

static void input_begins(struct redis *r)
{
    redis_enter(r);
    r->read_ms = clock_ms();
    r->batch = false;
}

static void input_ends(struct redis *r)
{
    if (r->batch && r->ev.on_batch_end && !r->freed)
        r->ev.on_batch_end(r, r->arg);
    redis_leave(r);
}

void redis_on_records(struct bufferevent *bev, void *arg)
{
    struct redis *r = arg;

    (void)bev;
    input_begins(r);
    if (redis_alive(r))
        read_buffered(r);
    input_ends(r);
}

void redis_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct redis *r = arg;

    (void)what;
    input_begins(r);
    if (redis_alive(r))
        read_socket(r, (int)fd);
    input_ends(r);
}

void redis_on_reply_timeout(void *arg)
{
    struct redis *r = arg;
    const struct redis_pending *first = redis_queue_first(&r->queue);
    int64_t left_ms;

    if (!first)
        return;
    /* a long reply that goes on arriving is no silence */
    left_ms = (first->sent_ms > r->read_ms ? first->sent_ms : r->read_ms) +
              r->opt.reply_ms - clock_ms();
    if (left_ms > 0) {
        timer_start(r->reply, left_ms);
        return;
    }
    redis_enter(r);
    r->counters.timeouts++;
    redis_lose(r, "no reply for %lld ms", (long long)r->opt.reply_ms);
    redis_leave(r);
}
