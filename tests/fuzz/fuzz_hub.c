/* fuzz_hub: the bridge's core without sockets. hub, client, outbuf, sub, replay, fill,
 * pages, reader, live, run_state, watch, feed and stream are the real ones; time, memory
 * and sockets are host.c, Redis is redis_model.c, and what really happened is truth.c.
 *
 * The input is a list of operations of two or three bytes, what and to whom: streams are
 * opened with any position, read, block and leave; events are published, lost on their
 * way, repeated, forged; Redis answers at once, late or not at all, forgets, comes back;
 * time passes; an allocation fails. After every one follow.c has checked what each reader
 * was sent, and the queues are within their limits; at the end everything is delivered,
 * and everybody has everything and all memory is free. */
#include "fuzz.h"

#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "common/log.h"
#include "hub/redis_model.h"
#include "hub/world.h"

enum { STEPS_MAX = 600 };

static void op_open(uint8_t arg, uint8_t how)
{
    static const char *const odd[] = {"17-1", "17-0",   "18-1", "1-1",
                                      "x",    "17-3,0", "0-1"};
    struct follow f = {.run = -1, .merge = arg & 8};
    char since[FOLLOW_ID] = "";

    f.count = 1 + (arg & 3) % FOLLOW_THREADS;
    for (int i = 0; i < f.count; i++)
        f.threads[i] = ((arg >> 4) + i) % TRUTH_THREADS;
    switch (how % 6) {
    case 0:
        f.since_run = true;
        break;
    case 1:
        f.since_now = true;
        break;
    case 2: { /* that run alone, from its beginning */
        const struct truth_thread *t = &truth.threads[f.threads[0]];
        f.count = 1;
        f.run = t->runs ? t->runs - 1 : 0;
        f.since_run = true;
        break;
    }
    case 3: { /* behind an event that there was */
        const struct truth_thread *t = &truth.threads[f.threads[0]];
        f.count = 1;
        if (t->count)
            event_id_format(&t->entries[(how >> 3) % t->count].id, since);
        break;
    }
    case 4: /* all that is kept */
        snprintf(since, sizeof(since), "%.*s", 2 * f.count - 1, "0,0,0");
        break;
    default:
        snprintf(since, sizeof(since), "%s", odd[(how >> 3) % 7]);
    }
    world_open_follow(&f, since, how & 0x80);
}

/* The same reader again, with the last id that it has seen. */
static void op_return(uint8_t arg)
{
    struct follow f = world.follows[arg % HOST_SOCKETS];

    if (host.sockets[arg % HOST_SOCKETS].used || !f.count)
        return;
    f.since_run = f.since_now = false;
    f.since_run = !f.last_id[0];
    char since[FOLLOW_ID];
    memcpy(since, f.last_id, sizeof(since));
    world_open_follow(&f, since, false);
}

static void op_socket(uint8_t arg, uint8_t what)
{
    struct host_socket *s = &host.sockets[arg % HOST_SOCKETS];

    if (!s->used)
        return;
    switch (what) {
    case 0:
        s->room += 1u + (arg >> 3) * 20u;
        host_writable(arg % HOST_SOCKETS);
        break;
    case 1:
        s->room = arg & 0x80 ? 0 : 1 << 20;
        host_writable(arg % HOST_SOCKETS);
        break;
    case 2:
        s->incoming = arg & 0x80 ? 3000 : -1;
        host_readable(arg % HOST_SOCKETS);
        break;
    default:
        s->reset = true;
        host_writable(arg % HOST_SOCKETS);
    }
}

/* --- threads ---------------------------------------------------------------------- */

static void publish(struct truth_thread *t, const char *json, size_t len)
{
    char channel[NAMES_KEY_SIZE];

    names_channel(channel, "", t->name);
    redis_model_publish(channel, json, len);
}

static void publish_entry(struct truth_thread *on, const struct truth_thread *t, int i)
{
    struct buf json;

    buf_init(&json);
    truth_json(t, &i, 1, &json);
    publish(on, json.data, json.len);
    buf_fini(&json);
}

static void op_publish(uint8_t arg, enum truth_kind kind)
{
    struct truth_thread *t = &truth.threads[arg % TRUTH_THREADS];
    int i = truth_append(t, kind, (arg >> 4) & 1, arg >> 5);

    if (arg & 8)
        world.lost_messages++;
    else if (i >= 0)
        publish_entry(t, t, i);
}

/* What somebody else says on a thread's channel. */
static void op_noise(uint8_t arg)
{
    static const char *const garbage[] = {"",
                                          "hello",
                                          "{\"type\":\"token\"",
                                          "[1]",
                                          "{\"id\":\"17-0\",\"type\":\"token\"}",
                                          "{\"type\":\"done\",\"content\":3}"};
    struct truth_thread *t = &truth.threads[arg % TRUTH_THREADS], *other;
    char json[200];
    const char *text;

    other = &truth.threads[(arg + 1) % TRUTH_THREADS];
    switch ((arg >> 2) & 3) {
    case 0: /* repeated */
        if (t->count)
            publish_entry(t, t, t->count - 1 - (arg >> 4) % t->count);
        return;
    case 1: /* another thread's */
        snprintf(json, sizeof(json),
                 "{\"id\":\"%d-%d\",\"type\":\"token\",\"threadId\":\"%s\"}",
                 (int)t->last.epoch, (int)t->last.n + 1, other->name);
        publish(t, json, strlen(json));
        return;
    case 2: /* an id that nobody gave out, far from the next */
        snprintf(json, sizeof(json),
                 "{\"id\":\"%d-%d\",\"type\":\"token\",\"threadId\":\"%s\","
                 "\"content\":\"x\",\"ts\":1}",
                 (int)t->last.epoch + (arg >> 6), 5000 + (arg >> 4), t->name);
        publish(t, json, strlen(json));
        return;
    default:
        text = garbage[(arg >> 5) % 6];
        snprintf(json, sizeof(json),
                 "{\"type\":\"note\",\"threadId\":\"%s\",\"for\":\"%s\"}", t->name,
                 t->name);
        text = arg & 0x10 ? json : text;
        publish(t, text, strlen(text));
    }
}

static void op_forget(uint8_t arg)
{
    struct truth_thread *t = &truth.threads[arg % TRUTH_THREADS];

    if (arg & 0x80)
        truth_trim(t, 1 + ((arg >> 3) & 15));
    else
        truth_lose(t, (arg >> 3) & 3, (arg & 0x60) == 0x60);
}

/* --- the rest of the world -------------------------------------------------------- */

static void op_redis(uint8_t arg)
{
    static const char *const errors[] = {"LOADING", "ERR x", "NOPERM x", "MASTERDOWN"};
    enum redis_role role = arg & 1 ? ROLE_FEED : ROLE_READER;

    switch ((arg >> 1) & 7) {
    case 0:
        redis_model_down(role);
        break;
    case 1:
        redis_model_up(role);
        break;
    case 2: /* both at once */
        redis_model_down(ROLE_FEED);
        redis_model_down(ROLE_READER);
        break;
    case 3:
        redis_model_up(ROLE_FEED);
        redis_model_up(ROLE_READER);
        break;
    case 4:
        redis_model_execute(role, errors[arg >> 6]);
        break;
    case 5:
        redis_model_refuse(1 + (arg >> 6));
        break;
    case 6:
        redis_model_lose_message();
        world.lost_messages++;
        break;
    default:
        truth.worker_alive = arg & 0x80;
        world.publisher_up = arg & 0x40;
    }
}

static void op_rights(uint8_t arg)
{
    if (arg & 1)
        world.owner = arg & 2;
    if (arg & 4)
        hub_recheck(bridge.hub, arg & 8 ? truth.threads[arg % TRUTH_THREADS].name : NULL);
    if (arg & 16)
        world_answer_questions(arg & 32      ? ACCESS_UNKNOWN
                               : world.owner ? ACCESS_OWNER
                                             : ACCESS_DENIED);
}

static void deliver(enum redis_role role, int most)
{
    while (most-- > 0 && redis_model_deliver(role))
        ;
}

static void op(uint8_t what, uint8_t arg, struct fuzz_input *in)
{
    switch (what & 31) {
    case 0 ... 2:
        op_publish(arg, TRUTH_TOKEN);
        break;
    case 3:
        op_publish(arg, TRUTH_DELTA);
        break;
    case 4:
        op_publish(arg, TRUTH_STARTED);
        break;
    case 5:
        op_publish(arg, TRUTH_DONE);
        break;
    case 6 ... 7:
        deliver(ROLE_FEED, 1 + (arg & 15));
        break;
    case 8:
        redis_model_execute(arg & 1 ? ROLE_FEED : ROLE_READER, NULL);
        break;
    case 9 ... 10:
        deliver(ROLE_READER, 1 + (arg & 15));
        break;
    case 11 ... 16:
        op_open(arg, fuzz_byte(in));
        break;
    case 17 ... 18:
        op_return(arg);
        break;
    case 19 ... 22:
        op_socket(arg, (what & 31) - 19);
        break;
    case 23:
        op_noise(arg);
        break;
    case 24:
        op_forget(arg);
        break;
    case 25 ... 26:
        op_redis(arg);
        break;
    case 27 ... 28:
        host_advance((arg + 1) * 40, world_turn);
        break;
    case 29:
        op_rights(arg);
        break;
    case 30:
        host.fail_after = arg >> 3;
        host.fail_count = 1 + (arg & 7);
        break;
    default:
        if (arg == 0xD1)
            clients_drain(bridge.clients, 1000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    world_begin();
    if (!(fuzz_byte(&in) & 1)) {
        redis_model_up(ROLE_FEED);
        redis_model_up(ROLE_READER);
    }
    for (int i = 0; in.len && i < STEPS_MAX; i++) {
        uint8_t what = fuzz_byte(&in);
        truth.step++;
        if (getenv("FUZZ_TRACE"))
            fprintf(stderr, "%u: op %d %02x\n", truth.step, what & 31,
                    in.len ? *in.at : 0u);
        op(what, fuzz_byte(&in), &in);
        if (!(what & 0x80)) /* else the turn goes on */
            world_turn();
    }
    world_turn();
    world_end();
    return 0;
}
