/* One connection as its owner sees it, and its way down:
 *
 *   redis_connect.c   up: dial, TLS, handshake (redis_handshake.c), READY
 *   redis_io.c        bytes; redis_command.c, redis_reply.c: what they mean
 *   redis_pubsub.c    a subscriber's messages
 *   redis_sentinel.c  where the master is, when sentinels know it
 *   here              anything wrong ─▶ redis_lose ─▶ go_down ─▶ retry timer ─▶ up again
 *
 * redis_lose is the only way down. Callbacks may send, drop and free: what would pull the
 * ground from under the dispatch waits until it has returned. */
#include "common/redis.h"

#include "common/clock.h"
#include "common/redis_dial.h"
#include "common/redis_internal.h"
#include "common/redis_reply.h"
#include "common/redis_sentinel.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENDV_MAX 64

static void redis_go_down(struct redis *r);

static void redis_destroy(struct redis *r)
{
    timer_free(r->retry);
    timer_free(r->connect);
    timer_free(r->reply);
    if (r->later)
        event_free(r->later);
    redis_reader_free(r->reader);
    redis_queue_fini(&r->queue);
    buf_fini(&r->out);
    SSL_CTX_free(r->tls);
    if (r->at.sentinels)
        free(r->at.host);
    free((char *)(uintptr_t)r->opt.name);
    free((char *)(uintptr_t)r->opt.tls_ca_file);
    free(r);
}

/* Brackets everything that may call the owner. */
void redis_enter(struct redis *r)
{
    r->depth++;
}

void redis_leave(struct redis *r)
{
    if (--r->depth > 0)
        return;
    if (r->freed)
        redis_destroy(r);
    else if (r->down_pending)
        redis_go_down(r);
}

bool redis_alive(const struct redis *r)
{
    return !r->freed && !r->down_pending;
}

static void close_connection(struct redis *r)
{
    redis_dial_cancel(r->dial);
    r->dial = NULL;
    if (r->readable)
        event_free(r->readable);
    if (r->bev)
        bufferevent_free(r->bev); /* and closes */
    r->readable = NULL;
    r->bev = NULL;
    r->seeking = false;
    timer_stop(r->connect);
    timer_stop(r->reply);
    r->run_id[0] = '\0';
}

static void fail_waiting(struct redis *r)
{
    struct redis_pending p;

    while (redis_queue_pop(&r->queue, &p)) {
        if (p.fn)
            p.fn(r, NULL, p.arg);
        free(p.channel);
    }
}

void redis_lose(struct redis *r, const char *fmt, ...)
{
    va_list args;

    if (!redis_alive(r) || (r->state == REDIS_WAITING))
        return;
    va_start(args, fmt);
    vsnprintf(r->why, sizeof(r->why), fmt, args);
    va_end(args);
    r->refused_at = 0;
    if (r->state == REDIS_READY)
        r->counters.lost++;
    else
        r->counters.failed++;
    r->state = REDIS_WAITING;
    r->down_pending = true;
    if (r->depth == 0)
        event_active(r->later, EV_TIMEOUT, 0);
}

/* depth is 0: nobody above us holds a reply, the reader or the bufferevent. A
 * connection that lasted makes the next try early again; one that is cut as soon as it
 * stands does not. */
static void redis_go_down(struct redis *r)
{
    if (r->ready_ms && clock_ms() - r->ready_ms >= r->opt.backoff_ms)
        backoff_reset(&r->backoff);
    r->down_pending = false;
    r->ready_ms = 0;
    close_connection(r);
    if (r->sentinel)
        redis_sentinel_doubt(r);
    buf_clear(&r->out);
    timer_start(r->retry, backoff_next(&r->backoff, r->opt.backoff_ms));
    redis_enter(r);
    fail_waiting(r);
    if (r->ev.on_down && !r->freed)
        r->ev.on_down(r, r->why, r->arg);
    redis_leave(r);
}

static bool copy_options(struct redis *r, const struct redis_options *o)
{
    r->opt = *o;
    r->opt.name = o->name ? strdup(o->name) : NULL;
    r->opt.tls_ca_file = o->tls_ca_file ? strdup(o->tls_ca_file) : NULL;
    if (!r->opt.connect_ms)
        r->opt.connect_ms = 3000;
    if (!r->opt.reply_ms)
        r->opt.reply_ms = 5000;
    if (!r->opt.backoff_ms)
        r->opt.backoff_ms = 1000;
    if (!r->opt.queue_max)
        r->opt.queue_max = o->subscriber ? 200000 : 10000;
    if (!r->opt.output_max)
        r->opt.output_max = (size_t)64 << 20;
    return (!o->name || r->opt.name) && (!o->tls_ca_file || r->opt.tls_ca_file);
}

struct redis *redis_new(struct loop *l, const struct redis_options *o,
                        const struct redis_events *events, void *arg)
{
    struct redis *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = l;
    r->ev = *events;
    r->arg = arg;
    buf_init(&r->out);
    r->retry = timer_new(l, redis_on_retry, r);
    r->connect = timer_new(l, redis_on_connect_timeout, r);
    r->reply = timer_new(l, redis_on_reply_timeout, r);
    r->later = event_new(loop_base(l), -1, 0, redis_on_later, r);
    r->reader = redis_reader_new(REDIS_REPLY_BYTES_MAX, REDIS_REPLY_ITEMS_MAX);
    list_init(&r->in_sentinel);
    r->at = *o->url;
    if (!copy_options(r, o) || (o->url->sentinels && !redis_sentinel_join(r)) ||
        !r->retry || !r->connect || !r->reply || !r->later || !r->reader) {
        redis_sentinel_leave(r);
        redis_destroy(r);
        return NULL;
    }
    redis_queue_init(&r->queue, r->opt.queue_max);
    timer_start(r->retry, 0);
    return r;
}

void redis_free(struct redis *r)
{
    if (!r || r->freed)
        return;
    redis_enter(r);
    r->freed = true;
    r->state = REDIS_WAITING;
    fail_waiting(r);
    timer_stop(r->retry);
    close_connection(r);
    redis_sentinel_leave(r);
    redis_leave(r);
}

enum redis_state redis_state(const struct redis *r)
{
    return r->state;
}

const char *redis_run_id(const struct redis *r)
{
    return r->state == REDIS_READY ? r->run_id : "";
}

const char *redis_version(const struct redis *r)
{
    return r->version;
}

size_t redis_queued(const struct redis *r)
{
    return r->queue.count;
}

int64_t redis_heard_ms(const struct redis *r)
{
    return r->state == REDIS_READY ? r->read_ms : 0;
}

uint64_t redis_reconnects(const struct redis *r)
{
    return r->counters.reconnects;
}

const struct redis_counters *redis_counters(const struct redis *r)
{
    return &r->counters;
}

const char *redis_refusal(const struct redis *r)
{
    return r->refused_at ? r->why + r->refused_at : NULL;
}

void redis_drop(struct redis *r, const char *why)
{
    redis_lose(r, "%s", why);
}

bool redis_send(struct redis *r, redis_reply_fn *fn, void *arg, int argc,
                const char *const *argv, const size_t *lens)
{
    struct redis_pending p = {.fn = fn, .arg = arg};

    return r->state == REDIS_READY && !r->opt.subscriber && argc > 0 &&
           redis_command(r, &p, argc, argv, lens);
}

bool redis_sendv(struct redis *r, redis_reply_fn *fn, void *arg, ...)
{
    const char *argv[SENDV_MAX];
    int argc = 0;
    va_list args;

    va_start(args, arg);
    while (argc < SENDV_MAX && (argv[argc] = va_arg(args, const char *)))
        argc++;
    va_end(args);
    return argc < SENDV_MAX && redis_send(r, fn, arg, argc, argv, NULL);
}
