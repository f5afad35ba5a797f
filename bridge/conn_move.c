/* conn_move: a connection goes from its reactor to another one with the request that it
 * has sent, which is read there once more, as if it had come there first. At most once,
 * and before anybody was asked about it; its place among the process's connections stays
 * its own. */
#include "bridge/bridge.h"
#include "bridge/conn_internal.h"
#include "bridge/gather.h"
#include "bridge/limits.h"
#include "bridge/request.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARRIVING_MAX = 256 };

/* A connection on its way. */
struct move {
    struct letter letter;
    struct bridge *to;
    uint32_t place; /* of its thread, where it is counted meanwhile */
    int fd;
    bool overloaded;
    char address[ADDRESS_SIZE];
    struct buf in; /* what it has sent */
};

static void move_free(struct move *m)
{
    buf_fini(&m->in);
    free(m);
}

bool conn_movable(const struct request *r)
{
    const struct conn *c = r->conn;

    return c && !r->answered && !c->moved && !c->eof && !c->scarce && !c->admin &&
           r->keys == KEYS_UNASKED && r->authorized == AUTHORIZE_UNASKED;
}

/* In the other reactor's thread. */
static void on_arrived(struct letter *letter)
{
    struct move *m = LIST_ITEM(letter, struct move, letter);
    struct bridge *b = m->to;
    struct conn *c = b->clients ? conn_new(b, m->fd) : NULL; /* else it has ended */

    if (c) {
        c->moved = c->placed = c->arriving = true;
        c->place = m->place;
        c->overloaded = m->overloaded;
        memcpy(c->address, m->address, sizeof(c->address));
        buf_fini(&c->in);
        c->in = m->in;
        buf_init(&m->in);
        conn_arrived(c);
    } else {
        atomic_fetch_sub(&b->arriving, 1);
        gather_left(b->gather, m->place);
        close(m->fd);
        limits_connection_give(b->limits);
    }
    move_free(m);
}

void conn_taken_in(struct conn *c)
{
    if (c->arriving)
        atomic_fetch_sub(&c->b->arriving, 1);
    c->arriving = false;
}

/* How many one reactor may not have served yet; the others stay. A reactor that stands
 * still does not fill the process with them: all together have half of its places. */
static unsigned arriving_max(const struct reactors *rs)
{
    int64_t share = rs->conf->max_connections / 2 / (int64_t)rs->count;

    return share < ARRIVING_MAX ? (unsigned)share : ARRIVING_MAX;
}

/* Either we see that the process is leaving, or who counts its last connections sees that
 * one is on its way (bridge.c: stop_when_empty). */
static bool may_arrive(struct bridge *from, struct bridge *to)
{
    if (atomic_fetch_add(&to->arriving, 1) < arriving_max(to->reactors) &&
        !atomic_load(&to->reactors->leaving))
        return true;
    atomic_fetch_sub(&to->arriving, 1);
    from->stats.gather_full++;
    return false;
}

bool conn_move(struct request *r, struct bridge *to, uint32_t place)
{
    struct conn *c = r->conn;
    struct move *m = calloc(1, sizeof(*m));

    if (!m)
        return false;
    m->letter.fn = on_arrived;
    m->to = to;
    m->place = place;
    m->overloaded = c->overloaded;
    memcpy(m->address, c->address, sizeof(m->address));
    buf_init(&m->in);
    buf_add(&m->in, r->head, r->head_len);
    if (c->in.len)
        buf_add(&m->in, c->in.data, c->in.len);
    if (m->in.failed) {
        move_free(m);
        return false;
    }
    if (!may_arrive(r->bridge, to)) {
        move_free(m);
        return false;
    }
    r->answered = true;
    r->bridge->stats.http_requests--; /* it is counted where it is answered */
    r->bridge->stats.connections_moved++;
    m->fd = conn_let_go(c, "moved");
    mailbox_post(to->mailbox, &m->letter);
    return true;
}
