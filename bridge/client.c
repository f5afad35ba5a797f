/* client: the last room before the browser. client_send puts a reference into the queue;
 * client_flush writes it; client_close is the one funnel through which a stream ends.
 * Must never free itself (the reaper does) and never write outside client_flush. */
#include "bridge/client.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/ears.h"
#include "bridge/legacy_stream.h"
#include "bridge/reactors.h"
#include "bridge/sse.h"
#include "bridge/sub.h"
#include "bridge/tour.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IOV_MAX_TURN = 256,
    WRITES_A_TURN = 8,       /* then others first */
    TURN_BYTES = 4 << 20,    /* shared ones, beyond the limit, until the turn's write */
    WOKEN_A_TURN = 32,       /* full sockets that take bytes again */
    READ_MAX = 4096,         /* bytes a reader may send on a stream in its life */
    TAKES_MS = 1000,         /* without a byte it is not said to be reading */
    END_MS = 4000,           /* what an ending stream has for its last bytes */
    PAGE_LOW_MARK = 64 << 10 /* ask for the next page below this */
};

static bool is_blocked(const struct client *c)
{
    return c->writable != NULL;
}

/* Those whose sockets are full come behind those who read. */
static void mark_dirty(struct client *c)
{
    if (!list_linked(&c->dirty))
        list_push(is_blocked(c) ? &c->set->late : &c->set->dirty, &c->dirty);
}

/* A host that is gone says nothing: what is written to it is never acknowledged. */
static enum close_reason reason_of(int error)
{
    return error == ETIMEDOUT ? CLOSE_STALLED : CLOSE_CLIENT;
}

void client_hear(void *client)
{
    struct client *c = client;
    char scratch[1024];
    ssize_t n = recv(c->fd, scratch, sizeof(scratch), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(c, n < 0 ? reason_of(errno) : CLOSE_CLIENT);
        return;
    }
    c->read_bytes += (uint32_t)n;
    if (c->read_bytes > READ_MAX)
        client_close(c, CLOSE_WROTE);
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* Else the kernel takes megabytes for a reader who never reads, and many of those are a
 * system call an event each until it is full. Wide: who is about to be called slow may
 * use all of it, or a burst would be the end of a reader who reads. */
static void limit_socket(struct client *c, bool wide)
{
    int bytes = wide ? INT_MAX : (int)c->set->bridge->conf->client_socket_bytes;
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes)) == 0)
        c->wide = wide;
}

/* Else the kernel goes on trying for a quarter of an hour. What does not fill our queue,
 * keepalives for one, would never be seen to make no progress. */
static void expect_acks(struct client *c)
{
    unsigned ms = (unsigned)c->set->bridge->conf->write_stall_ms;
    setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static struct client *client_alloc(struct clients *set, const struct client_spec *spec)
{
    struct client *c = calloc(1, sizeof(*c) + spec->threads * sizeof(struct sub));
    if (!c)
        return NULL;
    list_init(&c->node);
    list_init(&c->dirty);
    list_init(&c->waits);
    c->set = set;
    c->fd = spec->fd;
    c->count = (uint16_t)spec->threads;
    c->merge = spec->merge;
    c->ping = spec->manner.ping;
    c->poll = spec->manner.poll;
    c->poll_by_ms = set->now_ms + spec->manner.poll_ms;
    c->out.unchunked = spec->http10;
    c->number = set->made * set->bridge->reactors->count + set->bridge->number + 1;
    set->made++;
    c->opened_ms = c->wrote_ms = set->now_ms;
    for (size_t i = 0; i < spec->threads; i++) {
        list_init(&c->subs[i].node);
        c->subs[i].client = c;
    }
    return c;
}

struct client *client_new(struct clients *set, const struct client_spec *spec)
{
    struct client *c = client_alloc(set, spec);
    struct limit_seat seat = spec->seat;
    if (!c) {
        close(spec->fd);
        limits_seat_give(set->bridge->limits, &seat);
        return NULL;
    }
    c->seat = seat;
    c->identity = identity_ref(spec->identity);
    c->run_id = spec->run_id ? strdup(spec->run_id) : NULL;
    c->request_kind = label_set(&c->request, spec->request_id);
    limit_socket(c, false);
    expect_acks(c);
    int64_t retry_ms = clients_retry_ms(set);
    struct msg *head = sse_head(spec->http10, spec->ends, spec->headers, retry_ms);
    list_push(&set->all, &c->node);
    set->bridge->stats.clients++;
    set->bridge->stats.streams_opened++;
    bool ok = (!spec->run_id || c->run_id) && head && outbuf_push(&c->out, head, false) &&
              ears_add(set->ears, c->fd, c);
    msg_unref(head);
    if (!ok) {
        client_close(c, CLOSE_MEMORY);
        return NULL;
    }
    if (spec->http10)
        set->bridge->stats.streams_http10++;
    list_push(&set->quiet, &c->waits);
    mark_dirty(c);
    if (c->ping && c->count) /* who is refused hears why, and nothing else */
        client_ping(c, retry_ms);
    return c;
}

/* On a stream of several threads every event carries all positions. */
static struct msg *reframe(struct sub *s, struct msg *m)
{
    char position[POSITION_SIZE];
    struct event_view view = {.type = m->type, .id = m->id, .ts = m->ts};
    if (!event_id_zero(m->id)) {
        s->pos = m->id;
        s->has_pos = true;
    }
    bool known = !event_id_zero(m->id) && client_position(s->client, position);
    if (!known) /* its own id would be no position of this stream */
        view.id = (struct event_id){0, 0};
    return msg_event(msg_json(m), m->json_len, &view, known ? position : NULL);
}

static bool wanted(const struct client *c, const struct msg *m)
{
    if (!c->run_id)
        return true;
    if (c->older)
        return true; /* decides by itself */
    return m->run_len == strlen(c->run_id) &&
           memcmp(m->data + m->run_at, c->run_id, m->run_len) == 0;
}

/* Tries to put `m` into the newest queued token; only slow readers come here. */
static bool merge_into_tail(struct client *c, struct msg *m)
{
    struct msg *tail = outbuf_tail(&c->out);
    if (!c->merge || c->count > 1 || !tail || tail->type != EVENT_TOKEN ||
        m->type != EVENT_TOKEN)
        return false;
    struct msg *merged = merges_get(&c->set->merges, tail, m);
    if (!merged)
        return false;
    outbuf_replace_tail(&c->out, msg_ref(merged));
    c->merged++;
    c->set->bridge->stats.events_merged++;
    return true;
}

static void push(struct sub *s, struct msg *m, bool live)
{
    struct client *c = s->client;
    if (outbuf_push(&c->out, m, live)) {
        c->events++;
        c->greeted |= !event_id_zero(m->id);
        if (event_id_zero(c->first))
            c->first = m->id;
        if (!is_blocked(c) || c->over || c->poll) /* else it waits for its socket */
            mark_dirty(c);
    } else {
        client_close(c, CLOSE_MEMORY);
    }
}

static void end_with_run(struct client *c, const struct msg *m)
{
    if (c->run_id && !c->older && (m->type == EVENT_DONE || m->type == EVENT_ERROR))
        client_end(c, CLOSE_ENDED);
}

static void deliver(struct sub *s, struct msg *m, bool live)
{
    struct client *c = s->client;
    if (c->older) {
        legacy_stream_event(c->older, m, live);
        return;
    }
    if (c->count == 1) {
        push(s, m, live);
        return;
    }
    struct msg *own = reframe(s, m);
    if (own)
        push(s, own, live);
    else
        client_close(c, CLOSE_MEMORY);
    msg_unref(own);
}

void client_send(struct sub *s, struct msg *m)
{
    struct client *c = s->client;
    const struct bridge_conf *conf = c->set->bridge->conf;
    if (c->closed || c->ending || !wanted(c, m))
        return;
    size_t queued = c->out.live;
    size_t limit = (size_t)conf->client_queue_bytes;
    if (queued > limit * (size_t)conf->client_merge_percent / 100 &&
        merge_into_tail(c, m))
        return;
    if (queued && queued + m->len > limit) {
        c->over = true; /* whether it is slow is seen when it has been written to */
        if (queued > limit + TURN_BYTES) {
            client_close(c, CLOSE_SLOW);
            return;
        }
    }
    deliver(s, m, true);
    end_with_run(c, m);
}

void client_replay(struct sub *s, struct msg *m)
{
    struct client *c = s->client;
    if (c->closed || c->ending || !wanted(c, m))
        return;
    deliver(s, m, false);
    end_with_run(c, m);
}

void client_say(struct client *c, const char *name, const char *json, int64_t retry_ms)
{
    char position[POSITION_SIZE];
    if (c->closed || c->ending) /* its threads go on without it, and so would its id */
        return;
    bool known = client_position(c, position);
    c->poll_by_ms = 0; /* a short answer has something in it */
    struct msg *m = sse_named(name, json, known ? position : NULL, retry_ms);
    if (m && outbuf_push(&c->out, m, false))
        mark_dirty(c);
    else
        client_close(c, CLOSE_MEMORY);
    msg_unref(m);
}

bool client_push(struct client *c, struct msg *m, bool live)
{
    if (!m || !outbuf_push(&c->out, m, live))
        return false;
    mark_dirty(c);
    return true;
}

void client_keepalive(struct client *c)
{
    c->set->bridge->stats.keepalives++;
    if (c->ping && !c->older) {
        client_ping(c, clients_retry_ms(c->set));
        return;
    }
    struct msg *m = c->older ? legacy_ping_msg() : msg_text(":keepalive\n", 11);
    if (m && outbuf_push(&c->out, m, false))
        mark_dirty(c);
    msg_unref(m);
}

void client_end(struct client *c, enum close_reason reason)
{
    if (c->closed || c->ending)
        return;
    bool whole = reason == CLOSE_ENDED || reason == CLOSE_POLLED;
    if (whole && !c->out.unchunked) {
        struct msg *m = sse_last_chunk();
        if (!m || !outbuf_push(&c->out, m, false)) {
            msg_unref(m);
            client_close(c, CLOSE_MEMORY);
            return;
        }
        msg_unref(m);
    }
    c->ending = true;
    c->reason = (uint8_t)reason;
    /* an answer's end may take a slow reader its time; the others had theirs */
    c->by_ms = whole ? INT64_MAX : c->set->now_ms + END_MS;
    mark_dirty(c);
}

/* What others wait for or could be held up by goes now, the rest with the reaper. */
void client_close(struct client *c, enum close_reason reason)
{
    struct clients *set = c->set;
    if (c->closed)
        return;
    client_stays(c);
    c->closed = true;
    c->reason = (uint8_t)reason;
    tours_step_over(set, &c->node);
    list_remove(&c->node);
    list_remove(&c->dirty);
    list_remove(&c->waits);
    if (is_blocked(c)) {
        event_free(c->writable);
        c->writable = NULL;
        set->bridge->stats.clients_blocked--;
    }
    ears_remove(set->ears, c->fd);
    limits_seat_leave(set->bridge->limits, &c->seat);
    list_push(&set->dead, &c->node);
    set->dying++;
}

/* As the last one of that list, with its time. */
static void waits_in(struct client *c, struct list *list)
{
    c->wrote_ms = c->set->now_ms;
    list_remove(&c->waits);
    list_push(list, &c->waits);
}

static void on_progress(struct client *c, size_t n)
{
    struct clients *set = c->set;
    outbuf_consume(&c->out, n);
    c->bytes += n;
    set->bridge->stats.bytes_out += n;
    waits_in(c, is_blocked(c) ? &set->blocked : &set->quiet);
}

static void block(struct client *c)
{
    if (is_blocked(c))
        return;
    c->writable = event_new(loop_base(c->set->bridge->loop), c->fd, EV_WRITE | EV_PERSIST,
                            on_writable, c);
    if (!c->writable) {
        client_close(c, CLOSE_MEMORY);
        return;
    }
    c->set->bridge->stats.clients_blocked++;
    waits_in(c, &c->set->blocked);
    if (event_add(c->writable, NULL) != 0)
        client_close(c, CLOSE_MEMORY);
}

static void unblock(struct client *c)
{
    if (c->wide)
        limit_socket(c, false);
    if (!is_blocked(c))
        return;
    event_free(c->writable);
    c->writable = NULL;
    c->set->bridge->stats.clients_blocked--;
    waits_in(c, &c->set->quiet);
    if (list_linked(&c->dirty)) { /* it reads again */
        list_remove(&c->dirty);
        mark_dirty(c);
    }
}

/* true: go on writing */
static bool write_some(struct client *c)
{
    struct iovec iov[IOV_MAX_TURN];
    struct msghdr msg = {.msg_iov = iov};
    msg.msg_iovlen = block_get(&c->set->block, &c->out, iov)
                         ? 1
                         : (size_t)outbuf_iov(&c->out, iov, IOV_MAX_TURN);
    ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EINTR)
            return true;
        if (errno == EAGAIN || errno == ENOBUFS)
            block(c);
        else
            client_close(c, reason_of(errno));
        return false;
    }
    size_t left = c->out.bytes - (size_t)n;
    on_progress(c, (size_t)n);
    return left > 0;
}

static bool is_slow(struct client *c)
{
    bool over = c->over;
    c->over = false;
    return over && c->out.count > 1 &&
           c->out.live > (size_t)c->set->bridge->conf->client_queue_bytes;
}

/* What a write, or none, leaves behind. */
static void settle(struct client *c)
{
    if (!c->closed && is_slow(c))
        client_close(c, CLOSE_SLOW);
    if (c->closed)
        return;
    if (c->out.bytes) {
        block(c);
    } else {
        unblock(c);
        if (c->ending) {
            client_close(c, c->reason);
            return;
        }
    }
    if (c->out.bytes < PAGE_LOW_MARK)
        for (size_t i = 0; i < c->count; i++)
            if (c->subs[i].state == SUB_REPLAYING && !c->subs[i].page)
                sub_more(&c->subs[i]);
    if (c->older && c->out.bytes < PAGE_LOW_MARK)
        legacy_stream_more(c->older);
}

/* Has it taken anything lately? Who has not may be called slow as it is. */
static bool takes(const struct client *c)
{
    return !is_blocked(c) || c->set->now_ms - c->wrote_ms < TAKES_MS;
}

static void write_out(struct client *c)
{
    if (c->over && !c->wide && takes(c))
        limit_socket(c, true);
    for (int i = 0; i < WRITES_A_TURN && c->out.bytes; i++)
        if (!write_some(c))
            break;
    settle(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    (void)fd;
    (void)what;
    if (!slice_take(&c->set->woken, WOKEN_A_TURN))
        return;
    write_out(c);
}

/* A socket that was full is not asked again by every event, or those who never read would
 * cost as many system calls as those who do; only before its reader is called slow. */
void client_flush(struct client *c)
{
    client_poll(c);
    if (is_blocked(c) && !c->over)
        settle(c);
    else
        write_out(c);
}
