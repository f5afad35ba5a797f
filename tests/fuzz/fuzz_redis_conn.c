/* fuzz_redis_conn: a connection to a Redis that says what the input says, cut where the
 * input says, while commands and subscriptions wait; dialled, lost, dropped, freed and
 * opened again, also from inside its own callbacks. Sockets and the reader are real; time
 * and dialling are the input's.
 *
 *   owner (here) ─▶ redis*.c ─▶ socketpair ─▶ peer: what came, whole and in order
 *   owner (here) ◀─ redis*.c ◀─ socketpair ◀─ peer: a reader of its own says which reply
 * is the k-th, and whose it has to be
 *
 * Must hold: a command ends exactly once, by the reply that answers it or by NULL;
 * nothing is called behind redis_free; what waits has its limits; at the end nothing is
 * left. */
#include "fuzz.h"

#include "common/loop.h"
#include "common/redis.h"
#include "common/redis_reply.h"
#include "redis_conn/clockwork.h"
#include "redis_conn/said.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    QUEUE_MAX = 64,
    OUTPUT_MAX = 8 << 10,
    KERNEL_MAX = 64 << 10, /* what a socket may hold besides */
    COMMANDS_MAX = 512,
    REPLIES_MAX = 8192,
    FLAG_SUBSCRIBER = 1,
    FLAG_NAME = 2,
    FLAG_PASSWORD = 4,
    FLAG_USER = 8,
    FLAG_DB = 16,
    FLAG_REFUSED = 32, /* there is an on_refused */
    MOOD_SEND = 1,     /* in callbacks: */
    MOOD_DROP = 2,
    MOOD_FREE = 4
};

#define RUN_ID "0123456789abcdef0123456789abcdef01234567"
#define INFO "$74\r\nredis_version:7.0.15\r\nrun_id:" RUN_ID "\r\nx\r\n\r\n"

/* --- the world --------------------------------------------------------------------- */

/* One that was accepted: a command, or a (un)subscription. */
struct command {
    const char *verb, *channel;
    bool ended;
};

static struct loop *loop;

static struct {
    struct redis *redis; /* NULL: freed */
    struct redis_url url;
    uint8_t flags, mood;
    struct command commands[COMMANDS_MAX];
    size_t accepted, first; /* those before `first` have ended */
    /* this connection, the peer's end */
    int fd; /* -1: none */
    struct buf out;
    struct redis_reader *reader, *asked;
    bool bad;
    struct said replies[REPLIES_MAX];
    size_t said, heard;
    size_t first_here, arrived; /* the first command of it; how many came whole */
    size_t bytes_sent, bytes_read;
    bool ready, ending;
} w;

static const char *const channels[] = {"thread:a", "thread:b", "thread:\r\n", "t"};

static size_t handshake(void) /* how many commands it has */
{
    return (w.flags & (FLAG_PASSWORD | FLAG_USER) ? 1 : 0) + (w.flags & FLAG_DB ? 1 : 0) +
           (w.flags & FLAG_NAME ? 1 : 0) + 2;
}

static void hang_up(void)
{
    if (w.fd >= 0)
        close(w.fd);
    w.fd = -1;
    buf_clear(&w.out);
}

/* --- the owner: what it asks, and what it must hear -------------------------------- */

static void send_one(size_t size);

static void close_one(void)
{
    if (w.redis) {
        w.ending = true;
        redis_free(w.redis);
        if (w.flags & FLAG_SUBSCRIBER)
            w.first = w.accepted;
        MUST(w.first == w.accepted);
    }
    w.redis = NULL;
    hang_up();
}

static void act(void)
{
    uint8_t mood = w.mood;

    if (w.ending || !mood)
        return;
    w.mood = 0;
    if (mood & MOOD_SEND)
        send_one(mood);
    if (mood & MOOD_DROP)
        redis_drop(w.redis, "the owner's mood");
    if (mood & MOOD_FREE)
        close_one();
}

/* The oldest that waits: it is the one that ends. */
static struct command *end_first(const char *verb)
{
    struct command *c = &w.commands[w.first];

    MUST(w.first < w.accepted && !c->ended);
    MUST(!verb || strcmp(c->verb, verb) == 0);
    c->ended = true;
    w.first++;
    return c;
}

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct command *c = arg;

    MUST(r == w.redis && c == &w.commands[w.first]);
    end_first("ECHO");
    if (reply) {
        MUST(w.ready && w.heard < w.said);
        MUST(w.replies[w.heard].whole == hash_of(reply));
        w.heard++;
    }
    act();
}

static void on_ready(struct redis *r, void *arg)
{
    (void)arg;
    MUST(r == w.redis && !w.ready && redis_state(r) == REDIS_READY);
    MUST(w.said >= handshake() && strcmp(redis_run_id(r), RUN_ID) == 0);
    w.ready = true;
    w.heard = handshake();
    w.first_here = w.accepted;
    act();
}

static void on_down(struct redis *r, const char *why, void *arg)
{
    (void)arg;
    MUST(r == w.redis && *why && redis_state(r) != REDIS_READY);
    if (w.flags & FLAG_SUBSCRIBER)
        w.first = w.accepted; /* they end without a word */
    MUST(w.first == w.accepted && redis_queued(r) == 0);
    w.ready = false;
    hang_up();
    act();
}

/* The next reply that the owner of a subscriber hears of. */
static const struct said *next_news(void)
{
    for (;;) {
        const struct said *s = &w.replies[w.heard++];
        MUST(w.ready && w.heard <= w.said);
        if (!s->left)
            return s;
        MUST(w.first < w.accepted);
        MUST(hash(w.commands[w.first].channel, strlen(w.commands[w.first].channel)) ==
             s->channel);
        end_first("UNSUBSCRIBE");
    }
}

static void on_subscribed(struct redis *r, const char *channel, size_t len, void *arg)
{
    const struct said *s = next_news();
    const struct command *c = end_first("SUBSCRIBE");

    (void)arg;
    MUST(r == w.redis && s->subscribed && s->channel == hash(channel, len));
    MUST(strlen(c->channel) == len && memcmp(c->channel, channel, len) == 0);
    act();
}

static void on_message(struct redis *r, const char *channel, size_t channel_len,
                       const char *data, size_t len, void *arg)
{
    const struct said *s = next_news();

    (void)arg;
    MUST(r == w.redis && s->message);
    MUST(s->channel == hash(channel, channel_len) && s->data == hash(data, len));
    act();
}

static void on_refused(struct redis *r, const char *channel, size_t len, const char *why,
                       void *arg)
{
    const struct said *s = next_news();
    const struct command *c = end_first(NULL);

    (void)arg;
    MUST(r == w.redis && s->type == REDIS_FAILURE && why);
    MUST(strlen(c->channel) == len && memcmp(c->channel, channel, len) == 0);
    act();
}

static void on_batch_end(struct redis *r, void *arg)
{
    (void)arg;
    MUST(r == w.redis);
    act();
}

static void accept_one(bool accepted, size_t bytes, const char *verb, const char *channel)
{
    MUST(!accepted || w.ready);
    if (!accepted)
        return;
    w.commands[w.accepted++] = (struct command){.verb = verb, .channel = channel};
    w.bytes_sent += bytes;
    MUST(redis_queued(w.redis) <= QUEUE_MAX);
    MUST(w.bytes_sent <= w.bytes_read + OUTPUT_MAX + KERNEL_MAX);
}

static void send_one(size_t size)
{
    static char filler[2049];
    char number[24];

    if (w.accepted == COMMANDS_MAX || !w.redis)
        return;
    size = size * 8 < sizeof(filler) ? size * 8 : sizeof(filler) - 1;
    memset(filler, 'x', size);
    filler[size] = '\0';
    snprintf(number, sizeof(number), "%zu", w.accepted);
    accept_one(redis_sendv(w.redis, on_reply, &w.commands[w.accepted], "ECHO", number,
                           filler, NULL),
               size, "ECHO", "");
}

static void subscribe_one(const char *channel, bool leave)
{
    size_t len = strlen(channel);

    if (w.accepted == COMMANDS_MAX || !w.redis)
        return;
    accept_one(leave ? redis_unsubscribe(w.redis, channel, len)
                     : redis_subscribe(w.redis, channel, len),
               len, leave ? "UNSUBSCRIBE" : "SUBSCRIBE", channel);
}

static void open_one(uint8_t flags)
{
    static char user[] = "u", password[] = "p", path[] = "/nowhere";
    const struct redis_options o = {.url = &w.url,
                                    .name = flags & FLAG_NAME ? "n" : NULL,
                                    .queue_max = QUEUE_MAX,
                                    .output_max = OUTPUT_MAX,
                                    .subscriber = flags & FLAG_SUBSCRIBER};
    const struct redis_events events = {
        on_ready,   on_down,      on_subscribed,
        on_message, on_batch_end, flags & FLAG_REFUSED ? on_refused : NULL};

    w.flags = flags;
    w.url = (struct redis_url){.unix_path = path, .db = flags & FLAG_DB ? 3 : 0};
    if (flags & (FLAG_USER | FLAG_PASSWORD))
        w.url.password = password;
    if (flags & FLAG_USER)
        w.url.user = user;
    w.ending = w.ready = false;
    w.redis = redis_new(loop, &o, &events, NULL);
    MUST(w.redis);
}

/* --- the peer ---------------------------------------------------------------------- */

static void dialled(bool good)
{
    struct redis_dial d;
    int fds[2] = {-1, -1}, bytes = 4608;

    if (!dial)
        return;
    d = *dial;
    free(dial);
    dial = NULL;
    hang_up();
    if (good) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    w.fd = fds[1];
    redis_reader_reset(w.reader);
    redis_reader_reset(w.asked);
    w.bad = false;
    w.said = w.heard = w.arrived = 0;
    w.bytes_sent = w.bytes_read = 0;
    d.fn(fds[0], good ? NULL : "no", d.arg);
}

/* What the peer has to say goes out, up to so many bytes. */
static void say(size_t max)
{
    const struct redis_reply *reply;
    size_t len = max < w.out.len ? max : w.out.len;
    ssize_t n = w.fd < 0 || !len ? 0 : send(w.fd, w.out.data, len, MSG_NOSIGNAL);

    if (n <= 0)
        return;
    if (!w.bad) {
        enum redis_read what;
        MUST(redis_reader_feed(w.reader, w.out.data, (size_t)n));
        while ((what = redis_reader_next(w.reader, &reply)) == REDIS_READ_REPLY &&
               w.said < REPLIES_MAX)
            w.replies[w.said++] = understood(reply);
        w.bad = what != REDIS_READ_MORE;
    }
    memmove(w.out.data, w.out.data + n, w.out.len - (size_t)n);
    w.out.len -= (size_t)n;
}

/* Commands come whole and in order: the words of an ECHO are its number and its filler.
 */
static void look_at(const struct redis_reply *asked)
{
    const struct command *c;
    size_t k = w.arrived++;

    MUST(asked->type == REDIS_ARRAY && asked->count > 0);
    if (k < handshake())
        return;
    k = k - handshake() + w.first_here;
    MUST(k < w.accepted);
    c = &w.commands[k];
    MUST(is_word(asked->items[0], c->verb));
    if (*c->channel)
        MUST(is_word(asked->items[1], c->channel));
    else
        MUST(strtoul(asked->items[1]->str, NULL, 10) == k);
}

static void peer_reads(void)
{
    char bytes[8192];
    const struct redis_reply *asked;
    ssize_t n;

    while (w.fd >= 0 && (n = recv(w.fd, bytes, sizeof(bytes), 0)) > 0) {
        w.bytes_read += (size_t)n;
        MUST(redis_reader_feed(w.asked, bytes, (size_t)n));
        while (redis_reader_next(w.asked, &asked) == REDIS_READ_REPLY)
            look_at(asked);
    }
}

static void phrase(uint8_t which)
{
    static const char *const kinds[] = {"message", "subscribe", "unsubscribe",  "+OK\r\n",
                                        ":7\r\n",  "$-1\r\n",   "-NOPERM x\r\n"};
    size_t kind = which % (sizeof(kinds) / sizeof(kinds[0]));

    if (kind > 2) {
        buf_str(&w.out, kinds[kind]);
        return;
    }
    buf_printf(&w.out, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n%s", strlen(kinds[kind]),
               kinds[kind], strlen(channels[which >> 6]), channels[which >> 6],
               kind == 0 ? "$9\r\na message\r\n" : ":1\r\n");
}

static void hello(void)
{
    for (size_t i = 2; i < handshake(); i++)
        buf_str(&w.out, "+OK\r\n");
    buf_str(&w.out, INFO "+PONG\r\n");
}

/* --- steps ------------------------------------------------------------------------- */

static void owner_step(uint8_t what, struct fuzz_input *in)
{
    uint8_t b = fuzz_byte(in);

    if (what == 6)
        time_passes(b * 40);
    else if (what == 7)
        send_one(b);
    else if (what == 8 || what == 9)
        subscribe_one(channels[b & 3], what == 9);
    else if (what == 13)
        w.mood = b;
    else if (b & 1 && w.redis)
        redis_drop(w.redis, "the owner");
    else if (!(b & 1)) {
        close_one();
        open_one(b >> 1);
    }
}

static void step(uint8_t op, struct fuzz_input *in)
{
    struct span raw;

    switch (op & 15) {
    case 0:
        say(SIZE_MAX);
        break;
    case 1:
        say(1 + (fuzz_byte(in) & 63));
        break;
    case 2:
        hello();
        break;
    case 3:
        raw = fuzz_piece(in);
        buf_add(&w.out, raw.at, raw.len);
        break;
    case 4:
    case 5:
        dialled((op & 15) == 4);
        break;
    case 10:
        phrase(fuzz_byte(in));
        break;
    case 11:
        peer_reads();
        break;
    case 12:
        say(SIZE_MAX);
        hang_up();
        break;
    case 15: /* up in one step */
        dialled(true);
        hello();
        say(SIZE_MAX);
        break;
    default:
        owner_step(op & 15, in);
    }
}

static void turns(void)
{
    for (int i = 0; i < 3; i++)
        event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    int events;

    if (!loop) {
        signal(SIGPIPE, SIG_IGN); /* as loop_signals does */
        loop = loop_new();
        MUST(loop);
    }
    events = event_base_get_num_events(loop_base(loop), EVENT_BASE_COUNT_ADDED);
    w.accepted = w.first = w.mood = 0;
    w.fd = -1;
    buf_init(&w.out);
    w.reader = redis_reader_new(REDIS_REPLY_BYTES_MAX, REDIS_REPLY_ITEMS_MAX);
    w.asked = redis_reader_new(REDIS_REPLY_BYTES_MAX, REDIS_REPLY_ITEMS_MAX);
    time_begins();
    open_one(fuzz_byte(&in));
    time_passes(0);
    while (in.len) {
        step(fuzz_byte(&in), &in);
        turns();
        MUST(!w.redis || redis_queued(w.redis) <= QUEUE_MAX);
    }
    close_one();
    turns();
    MUST(list_empty(&timers) && !dial);
    MUST(event_base_get_num_events(loop_base(loop), EVENT_BASE_COUNT_ADDED) == events);
    redis_reader_free(w.reader);
    redis_reader_free(w.asked);
    buf_fini(&w.out);
    return 0;
}
