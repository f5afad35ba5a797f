/* reaper: the one place where streams are freed, at the end of the turn in which they
 * were closed: subscription, queue, timers and descriptor go together. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/legacy_stream.h"
#include "common/log.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const char *close_reason_text(enum close_reason reason)
{
    static const char *const text[CLOSE_REASONS] = {
        [CLOSE_CLIENT] = "client left",    [CLOSE_SLOW] = "slow",
        [CLOSE_STALLED] = "write stalled", [CLOSE_WROTE] = "client wrote",
        [CLOSE_TOKEN] = "token ended",     [CLOSE_REVOKED] = "access revoked",
        [CLOSE_DRAIN] = "draining",        [CLOSE_BUSY] = "busy",
        [CLOSE_ENDED] = "run ended",       [CLOSE_DEMO] = "cut on request",
        [CLOSE_MEMORY] = "out of memory",  [CLOSE_AGED] = "old",
        [CLOSE_POLLED] = "answered",
    };
    return text[reason];
}

static void count_reason(struct bridge_stats *s, enum close_reason reason)
{
    uint64_t *counter[CLOSE_REASONS] = {
        [CLOSE_CLIENT] = &s->closed_client,   [CLOSE_SLOW] = &s->closed_slow,
        [CLOSE_STALLED] = &s->closed_stalled, [CLOSE_WROTE] = &s->closed_wrote,
        [CLOSE_TOKEN] = &s->closed_token,     [CLOSE_REVOKED] = &s->closed_revoked,
        [CLOSE_DRAIN] = &s->closed_drain,     [CLOSE_BUSY] = &s->closed_busy,
        [CLOSE_ENDED] = &s->closed_ended,     [CLOSE_DEMO] = &s->closed_demo,
        [CLOSE_MEMORY] = &s->closed_memory,   [CLOSE_AGED] = &s->closed_aged,
        [CLOSE_POLLED] = &s->closed_polled,
    };
    ++*counter[reason];
}

/* FIN behind what the kernel still holds; unread bytes would make it a reset. */
static void hang_up(int fd)
{
    char scratch[4096];
    shutdown(fd, SHUT_WR);
    while (recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0)
        ;
    close(fd);
}

/* "t1" or "t1,t2"; a log line shows the first kilobyte. */
static void add_threads(const struct client *c, struct buf *out)
{
    buf_init(out);
    for (size_t i = 0; i < c->count; i++) {
        if (i)
            buf_char(out, ',');
        if (c->subs[i].topic)
            buf_str(out, c->subs[i].topic->thread_id);
    }
}

/* Everything about a stream that somebody may ask for later, and nothing of its text. */
static void log_end(const struct client *c)
{
    char first[EVENT_ID_SIZE] = "", last[POSITION_SIZE] = "", request[UUID_SIZE];
    struct buf threads;

    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    add_threads(c, &threads);
    if (!event_id_zero(c->first))
        event_id_format(&c->first, first);
    if (!client_position(c, last))
        last[0] = '\0';
    log_info("client closed", LOG_I("connection", c->number),
             LOG_S("thread", threads.data), LOG_S("reason", close_reason_text(c->reason)),
             LOG_S("first", first), LOG_S("last", last), LOG_I("events", c->events),
             LOG_I("bytes", c->bytes), LOG_I("merged", c->merged),
             LOG_I("unsent", c->out.bytes), LOG_I("ms", c->set->now_ms - c->opened_ms),
             LOG_S("run", c->run_id),
             LOG_S("request", label_text(&c->request, c->request_kind, request)));
    buf_fini(&threads);
}

static void reap(struct client *c)
{
    struct clients *set = c->set;

    log_end(c);
    count_reason(&set->bridge->stats, c->reason);
    for (size_t i = 0; i < c->count; i++)
        hub_leave(&c->subs[i]);
    legacy_stream_free(c->older);
    c->older = NULL;
    set->bridge->stats.clients--;
    limits_seat_give(set->bridge->limits, &c->seat);
    hang_up(c->fd);
    set->dying--;
    outbuf_fini(&c->out);
    identity_unref(c->identity);
    free(c->run_id);
    label_fini(&c->request, c->request_kind);
    free(c->connection);
    c->fd = -1;
    c->identity = NULL;
    c->run_id = c->connection = NULL;
    c->request_kind = LABEL_NONE;
    c->count = 0;
}

void reaper_run(struct clients *set, size_t most)
{
    LIST_EACH(node, next, &set->dead) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->fd >= 0 && !most--) {
            clients_soon(set);
            return;
        }
        if (c->fd >= 0)
            reap(c);
        if (c->pending)
            continue; /* a question still points here; its answer comes soon */
        list_remove(&c->node);
        free(c);
    }
}
