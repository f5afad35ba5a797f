/* reactors: makes the loops, gives each its thread, and ends them together.
 *
 *   SIGTERM ─▶ number 0 ─▶ bridge_drain in each ─▶ reactors_empty from each ─▶ all stop
 *
 * The parts of a reactor are made and freed by the main thread, while no other runs. */
#include "bridge/reactors.h"

#include "bridge/bridge.h"
#include "bridge/gather.h"
#include "bridge/keyring.h"
#include "bridge/limits.h"
#include "bridge/listener.h"
#include "bridge/metrics.h"
#include "bridge/revoked.h"
#include "bridge/round.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mailbox.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    OWN_DESCRIPTORS = 64,     /* of the process: logs, files, refusals under way */
    REACTOR_DESCRIPTORS = 16, /* loop, listener, Redis, names */
    OVERDUE_MS = 5000,        /* for a reactor that does not end */
};

static size_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > REACTORS_MAX ? REACTORS_MAX : (size_t)n;
}

/* What clients' sockets may take up without starving our own. 0: no limit is known. */
static size_t descriptors(const struct bridge_conf *conf, size_t reactors)
{
    struct rlimit limit;
    rlim_t own = OWN_DESCRIPTORS + REACTOR_DESCRIPTORS * (rlim_t)reactors +
                 (rlim_t)conf->database_pool;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    return limit.rlim_cur > 2 * own ? limit.rlim_cur - own : limit.rlim_cur / 2;
}

/* --- the end ------------------------------------------------------------------------ */

static void drain_one(struct round_part *part)
{
    bridge_drain(part->bridge);
    round_answer(part);
}

static void stop_one(struct round_part *part)
{
    loop_stop(part->bridge->loop);
    round_answer(part);
}

static void on_overdue(void *arg)
{
    (void)arg;
    log_error("a reactor does not end: leaving without it");
    _exit(1);
}

static void on_drain(void *arg)
{
    static const struct round_kind drain = {.each = drain_one};
    struct reactors *rs = arg;

    atomic_store(&rs->leaving, true);
    log_info("draining", LOG_I("streams", limits_streams(rs->limits)));
    timer_start(rs->overdue,
                rs->conf->shutdown_delay_ms + rs->conf->drain_ms + OVERDUE_MS);
    if (!round_ask(rs->all[0], &drain, NULL, NULL))
        on_overdue(rs);
}

static void on_hup(void *arg)
{
    struct reactors *rs = arg;

    if (rs->all[0]->keyring)
        keyring_reload(rs->all[0]->keyring);
}

static void count_empty(struct reactors *rs)
{
    static const struct round_kind stop = {.each = stop_one};

    if (++rs->empty == rs->count && !round_ask(rs->all[0], &stop, NULL, NULL))
        on_overdue(rs);
}

static void on_empty(struct letter *letter)
{
    count_empty(LIST_ITEM(letter, struct bridge, empty)->reactors);
}

void reactors_empty(struct bridge *b)
{
    struct bridge *first = b->reactors->all[0];

    b->empty.fn = on_empty;
    if (b == first)
        count_empty(b->reactors);
    else
        mailbox_post(first->mailbox, &b->empty);
}

/* --- the beginning ------------------------------------------------------------------ */

static bool make(struct reactors *rs, struct buf *err)
{
    struct bridge_places at = {rs->conf->listen, rs->conf->admin_listen};
    char first[LISTENER_ADDRESS_SIZE], admin[LISTENER_ADDRESS_SIZE];

    do {
        struct bridge *b = bridge_new(rs, rs->made, &at, err);
        if (!b)
            return false;
        rs->all[rs->made] = b;
        if (rs->made)
            continue;
        listener_address(b->listener, first); /* port 0 is chosen once */
        at.listen = first;
        if (b->admin) {
            listener_address(b->admin, admin);
            at.admin = admin;
        }
    } while (++rs->made < rs->count);
    rs->overdue = timer_new(rs->all[0]->loop, on_overdue, rs);
    if (!rs->overdue || !loop_signals(rs->all[0]->loop, on_drain, on_hup, rs)) {
        buf_str(err, "out of memory");
        return false;
    }
    if (at.admin)
        log_info("admin listening", LOG_S("address", at.admin));
    log_info("listening", LOG_S("address", first), LOG_I("reactors", rs->count));
    return true;
}

struct reactors *reactors_new(const struct bridge_conf *conf, struct auth *auth,
                              const struct bridge_files *files, struct buf *err)
{
    struct reactors *rs = calloc(1, sizeof(*rs));

    if (!rs)
        return NULL;
    rs->conf = conf;
    rs->auth = auth;
    rs->files = files;
    rs->count = conf->reactors ? (size_t)conf->reactors : cores();
    pthread_mutex_init(&rs->lock, NULL);
    instance_new(rs->instance);
    if (getentropy(rs->pseudonym_key, sizeof(rs->pseudonym_key)) != 0) {
        buf_str(err, "no random bytes");
        reactors_free(rs);
        return NULL;
    }
    rs->limits = limits_new(conf, descriptors(conf, rs->count));
    rs->gather = gather_new(rs->count, conf->gather_readers);
    rs->all = calloc(rs->count, sizeof(struct bridge *));
    rs->reports = calloc(rs->count, sizeof(*rs->reports));
    if (conf->auth != AUTH_MODE_NONE)
        rs->revoked = revoked_new(conf->revocation_ttl_s * 1000);
    if (!rs->limits || !rs->gather || !rs->all || !rs->reports ||
        (!rs->revoked && conf->auth != AUTH_MODE_NONE))
        buf_str(err, "out of memory");
    else if (make(rs, err))
        return rs;
    reactors_free(rs);
    return NULL;
}

static void deliver_all(struct reactors *rs)
{
    bool any = true;

    while (any) {
        any = false;
        for (size_t i = 0; i < rs->made; i++)
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): `made` are there */
            any |= mailbox_deliver(rs->all[i]->mailbox);
    }
}

void reactors_free(struct reactors *rs)
{
    if (!rs)
        return;
    deliver_all(rs); /* rounds that were under way end here, and once more: */
    for (size_t i = 0; i < rs->made; i++)
        bridge_close(rs->all[i]); /* answers what was still asked */
    deliver_all(rs);
    timer_free(rs->overdue);
    for (size_t i = 0; i < rs->made; i++)
        bridge_free(rs->all[i]);
    limits_free(rs->limits);
    gather_free(rs->gather);
    revoked_free(rs->revoked);
    free(rs->reports);
    free(rs->all);
    pthread_mutex_destroy(&rs->lock);
    free(rs);
}

/* --- meanwhile ---------------------------------------------------------------------- */

static void *run_one(void *arg)
{
    struct bridge *b = arg;
    char name[16];

    snprintf(name, sizeof(name), "reactor-%u", b->number % REACTORS_MAX);
    pthread_setname_np(pthread_self(), name);
    loop_run(b->loop);
    return NULL;
}

static bool start(struct reactors *rs, pthread_t *threads)
{
    sigset_t ours, before;
    bool ok = true;

    /* inherited by the threads: signals are the first one's business */
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    for (size_t i = 1; i < rs->count && ok; i++)
        ok = pthread_create(&threads[i], NULL, run_one, rs->all[i]) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

void reactors_run(struct reactors *rs)
{
    pthread_t threads[REACTORS_MAX];

    if (!start(rs, threads)) {
        log_error("a thread could not be made", LOG_I("reactors", rs->count));
        _exit(1); /* some may run already, but nobody was served yet */
    }
    loop_run(rs->all[0]->loop);
    for (size_t i = 1; i < rs->count; i++)
        pthread_join(threads[i], NULL);
    log_info("stopped", LOG_I("streams", limits_streams(rs->limits)));
}

int reactors_hanging(const struct reactors *rs)
{
    for (size_t i = 0; i < rs->count; i++)
        if (loop_silence_ms(rs->all[i]->loop) > rs->conf->hang_ms)
            return (int)i;
    return -1;
}
