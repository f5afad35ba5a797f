/* reader: what arrives on its connection, and when it wants what. Its connections are
 * made and ended in connect.c. */
#include "tests/faults/readers/reader.h"

#include "tests/faults/readers/check.h"
#include "tests/faults/readers/connect.h"
#include "tests/faults/readers/farm.h"
#include "tests/faults/readers/mem.h"
#include "tests/faults/readers/report.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    READS_TURN = 4,
    SLOW_TICK_MS = 50,
    ANSWER_MS = 10000, /* for the head of an answer */
};

void reader_note(struct reader *r, const char *what)
{
    r->traces[r->trace_count++ % TRACES] =
        (struct trace){.at_ms = r->farm->wall_ms, .what = what};
}

void reader_free(struct reader *r)
{
    if (!r)
        return;
    reader_close(r);
    for (size_t i = 0; i < r->view_count; i++)
        free(r->views[i].courses);
    free(r->views);
    free(r->token);
    free(r->since);
    free(r->last_id);
    free(r);
}

/* --- time ------------------------------------------------------------------------- */

static void sooner(int64_t *at_ms, int64_t other_ms)
{
    if (other_ms && (!*at_ms || other_ms < *at_ms))
        *at_ms = other_ms;
}

static bool may_read(const struct reader *r)
{
    return !r->stall_until_ms && (!r->slow_bytes_s || r->slow_left > 0);
}

void reader_schedule(struct reader *r)
{
    const struct farm *f = r->farm;
    int64_t at_ms = 0;

    if (r->state == READER_CONNECTING || r->state == READER_HEAD) {
        at_ms = r->heard_ms + ANSWER_MS;
    } else if (r->state == READER_STREAM) {
        if (f->conf.silence_ms)
            at_ms = r->heard_ms + f->conf.silence_ms;
        if (r->slow_bytes_s && r->slow_left <= 0)
            sooner(&at_ms, r->slow_at_ms + SLOW_TICK_MS);
    }
    sooner(&at_ms, r->cut_by_ms);
    sooner(&at_ms, r->stall_until_ms);
    sooner(&at_ms, r->slow_until_ms);
    wakes_set(&r->farm->wakes, r, at_ms);
}

static void refill_slow(struct reader *r)
{
    int64_t since_ms = r->farm->now_ms - r->slow_at_ms;

    if (!r->slow_bytes_s || since_ms < SLOW_TICK_MS)
        return;
    r->slow_left = r->slow_bytes_s * (since_ms < 1000 ? since_ms : 1000) / 1000;
    r->slow_at_ms = r->farm->now_ms;
}

static bool is_silent(const struct reader *r)
{
    int64_t limit_ms = r->state == READER_STREAM ? r->farm->conf.silence_ms : ANSWER_MS;

    return limit_ms && !r->stall_until_ms && r->farm->now_ms - r->heard_ms >= limit_ms;
}

void reader_on_wake(struct reader *r)
{
    int64_t now_ms = r->farm->now_ms;

    if (r->state == READER_WAITING) {
        reader_open(r);
        return;
    }
    if (r->state == READER_QUEUED || r->state == READER_CLOSED)
        return;
    if (r->cut_by_ms && now_ms >= r->cut_by_ms) {
        connect_cut(r);
        return;
    }
    if (r->stall_until_ms && now_ms >= r->stall_until_ms) {
        r->stall_until_ms = 0;
        r->heard_ms = now_ms;
    }
    if (r->slow_until_ms && now_ms >= r->slow_until_ms) {
        r->slow_bytes_s = r->slow_until_ms = 0;
        connect_narrow(r, false);
    }
    refill_slow(r);
    if (is_silent(r)) {
        r->farm->totals.failed++;
        reader_drop(r, "silent for too long", connect_retry_ms(r));
        return;
    }
    connect_listen(r, may_read(r));
    reader_schedule(r);
}

/* --- bytes ------------------------------------------------------------------------ */

static void on_block(const struct block *b, void *arg)
{
    struct reader *r = arg;

    if (!r->doomed)
        check_block(r, b);
}

static void on_broken(const char *why, void *arg)
{
    struct reader *r = arg;

    if (r->doomed)
        return;
    report_violation(r, NULL, "framing", "%s", why);
    r->doomed = "the stream was broken";
}

static void on_body(const char *data, size_t len, void *arg)
{
    static const struct sse_calls calls = {on_block, on_broken};
    struct reader *r = arg;

    sse_feed(&r->sse, data, len, &calls, r);
}

static void feed_stream(struct reader *r, const char *data, size_t len)
{
    const char *why = chunks_feed(&r->chunks, data, len, on_body, r);

    if (!why && r->chunks.state == CHUNKS_DONE)
        why = "a last chunk, which only a run's own stream has";
    if (why)
        on_broken(why, r);
}

static void feed(struct reader *r, const char *data, size_t len)
{
    r->farm->totals.bytes += len;
    r->heard_ms = r->farm->now_ms;
    if (r->state == READER_HEAD) {
        size_t used = connect_head(r, data, len);
        data += used;
        len -= used;
    }
    if (r->state == READER_STREAM && len && !r->doomed)
        feed_stream(r, data, len);
}

/* How many bytes may be read now; what is done to the reader limits them. */
static size_t read_limit(const struct reader *r)
{
    size_t limit = READ_SIZE;

    if (r->cut_left > 0 && (size_t)r->cut_left < limit)
        limit = (size_t)r->cut_left;
    if (r->slow_bytes_s && (size_t)r->slow_left < limit)
        limit = (size_t)r->slow_left;
    return limit;
}

static void on_gone(struct reader *r, ssize_t n)
{
    if (r->state == READER_HEAD) {
        r->farm->totals.failed++;
        reader_drop(r, "closed without an answer", connect_retry_ms(r));
    } else {
        reader_drop(r, n == 0 ? "closed by the bridge" : "reset by the bridge",
                    connect_retry_ms(r));
    }
}

/* false: that is all for now */
static bool read_some(struct reader *r)
{
    size_t limit = read_limit(r);
    ssize_t n = recv(r->fd, r->farm->buffer, limit, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        on_gone(r, n);
        return false;
    }
    if (r->cut_by_ms)
        r->cut_left -= n;
    if (r->slow_bytes_s)
        r->slow_left -= n;
    feed(r, r->farm->buffer, (size_t)n);
    if (r->doomed)
        reader_drop(r, r->doomed, r->doomed_ms ? r->doomed_ms : connect_retry_ms(r));
    else if (r->cut_by_ms && r->cut_left <= 0)
        connect_cut(r);
    else
        return (size_t)n == limit && may_read(r);
    return false;
}

void reader_on_events(struct reader *r, uint32_t events)
{
    if (r->fd < 0)
        return;
    if (r->state == READER_CONNECTING) {
        connect_made(r);
        return;
    }
    if (!may_read(r) && !(events & (EPOLLERR | EPOLLHUP)))
        return;
    if (!may_read(r)) { /* the connection is gone, and so is what it had in it */
        on_gone(r, -1);
        return;
    }
    for (int i = 0; i < READS_TURN && r->fd >= 0; i++)
        if (!read_some(r))
            break;
    if (r->fd >= 0 && !may_read(r)) {
        connect_listen(r, false);
        reader_schedule(r);
    }
}

/* --- what is done to it ----------------------------------------------------------- */

void reader_cut(struct reader *r, int64_t after_bytes, int64_t within_ms, bool rst)
{
    if (r->state != READER_STREAM)
        return;
    r->cut_rst = rst;
    r->cut_left = after_bytes;
    r->cut_by_ms = r->farm->now_ms + within_ms;
    if (after_bytes <= 0)
        connect_cut(r);
    else
        reader_schedule(r);
}

void reader_stall(struct reader *r, int64_t ms)
{
    if (r->state != READER_STREAM)
        return;
    r->stall_until_ms = r->farm->now_ms + ms;
    reader_note(r, "stalled by the farm");
    connect_listen(r, false);
    reader_schedule(r);
}

void reader_slow(struct reader *r, int64_t bytes_s, int64_t ms)
{
    if (r->state != READER_STREAM || (r->slow_bytes_s && !r->slow_until_ms))
        return;
    r->slow_bytes_s = bytes_s;
    r->slow_left = 0;
    r->slow_at_ms = r->farm->now_ms;
    r->slow_until_ms = r->farm->now_ms + ms;
    reader_note(r, "slowed by the farm");
    connect_narrow(r, true);
    connect_listen(r, false);
    reader_schedule(r);
}

void reader_half_close(struct reader *r)
{
    if (r->state != READER_STREAM)
        return;
    reader_note(r, "half closed by the farm");
    shutdown(r->fd, SHUT_WR);
}

void reader_set_token(struct reader *r, const char *token)
{
    free(r->token);
    r->token = mem_some(strdup(token));
    r->last_status = 0;
    if (r->state == READER_WAITING)
        reader_open(r);
}
