/* open ─▶ probe until every subscription stands ─▶ publish ─▶ wait for what is under way
 *
 * Nothing is counted before every reader has seen a probe: what is missing afterwards is
 * lost, and not late. */
#include "scenario.h"
#include "mark.h"
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PROBE_S 40         /* for every reader to see one */
#define PROBE_EVERY_MS 400 /* to the threads of those who have not */
#define QUIET_MS 150       /* without a byte: the probes are through */
#define FLAT_TURN 32       /* events between two looks at the window */
#define STALLED_RCVBUF 4096

static double seconds_since(uint64_t ns)
{
    return (double)(now_ns() - ns) / 1e9;
}

static void pause_us(long us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void sample(struct scenario *s, struct usage *server, struct usage *beside)
{
    *server = usage_read(&s->conf.server);
    if (beside)
        *beside = usage_read(&s->conf.beside);
}

/* --- readers ---------------------------------------------------------------------- */

static void open_stalled(struct scenario *s)
{
    for (int i = 0; i < s->conf.stalled; i++) {
        const struct readers_conf *conf = &s->conf.readers;
        char path[512], request[8192];
        int len, fd = net_connect(conf->port, i, STALLED_RCVBUF);
        net_fill(path, sizeof(path), conf->path,
                 (unsigned)(s->conf.readers.first + i % conf->threads));
        len =
            snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                     "%s%s\r\n",
                     path, conf->header ? conf->header : "", conf->header ? "\r\n" : "");
        if (fd < 0 || !net_write(fd, request, (size_t)len))
            die("stalled reader %d", i);
        s->stalled[i] = fd;
    }
}

/* How many of those that never read the server has closed. */
static unsigned count_cut(const struct scenario *s)
{
    unsigned cut = 0;

    for (int i = 0; i < s->conf.stalled; i++) {
        struct tcp_info info;
        socklen_t len = sizeof(info);
        if (getsockopt(s->stalled[i], IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
            cut += info.tcpi_state != TCP_ESTABLISHED;
    }
    return cut;
}

static void open_all(struct scenario *s)
{
    uint64_t began_ns = now_ns();

    s->kernel_start = usage_kernel();
    sample(s, &s->at_start, NULL);
    if (!readers_open(&s->readers))
        die("not every stream could be asked for");
    s->open_s = seconds_since(began_ns);
    open_stalled(s);
}

/* Waits until a counter says that of all readers, for so long at most. */
static bool wait_count(const struct scenario *s, const atomic_uint *counter, int ms)
{
    unsigned wanted = (unsigned)s->conf.readers.count;
    uint64_t end_ns = now_ns() + (uint64_t)ms * 1000000ull;

    while (atomic_load(counter) < wanted) {
        errno = ECONNREFUSED;
        if (atomic_load(&s->readers.refused) > 0)
            die("%u streams", atomic_load(&s->readers.refused));
        if (now_ns() > end_ns)
            return false;
        pause_us(2000);
    }
    return true;
}

static void wait_quiet(const struct scenario *s)
{
    unsigned long long seen;

    do {
        seen = atomic_load(&s->readers.bytes);
        pause_us(QUIET_MS * 1000);
    } while (atomic_load(&s->readers.bytes) != seen);
}

static void send_probes(struct scenario *s)
{
    int threads = s->conf.readers.threads;
    bool *wanted = calloc((size_t)threads, sizeof(*wanted));

    if (!wanted)
        die("probes");
    for (int i = 0; i < s->conf.readers.count; i++)
        wanted[i % threads] |= !s->readers.all[i].ready;
    for (int i = 0; i < threads; i++) {
        if (wanted[i])
            publisher_send(&s->publisher, (unsigned)(s->conf.readers.first + i), 0, 1);
    }
    publisher_flush(&s->publisher);
    free(wanted);
}

/* Until every reader has seen a probe: some servers answer before they subscribe. */
static void probe(struct scenario *s)
{
    uint64_t began_ns = now_ns();
    unsigned count = (unsigned)s->conf.readers.count;

    do {
        send_probes(s);
        if (seconds_since(began_ns) > PROBE_S) {
            fprintf(stderr, "bench_load: %u of %u readers saw no event\n",
                    count - atomic_load(&s->readers.ready), count);
            break;
        }
    } while (!wait_count(s, &s->readers.ready, PROBE_EVERY_MS));
    s->probe_s = seconds_since(began_ns);
    wait_quiet(s);
}

/* --- publishing ------------------------------------------------------------------- */

static void send_events(struct scenario *s, int thread, int count)
{
    publisher_send(&s->publisher, (unsigned)(s->conf.readers.first + thread),
                   s->numbers[thread] + 1, count);
    s->numbers[thread] += (uint32_t)count;
    s->published += (uint64_t)count;
    s->expected += (uint64_t)count * (uint64_t)readers_of(&s->readers, thread);
}

static uint64_t under_way(const struct scenario *s)
{
    uint64_t received = atomic_load(&s->readers.received);

    return s->expected > received ? s->expected - received : 0;
}

/* Until everything has arrived, or nothing more does. */
static void wait_received(struct scenario *s)
{
    uint64_t seen = 0, since_ns = now_ns();

    while (under_way(s) > 0 && seconds_since(since_ns) < s->conf.patience_s) {
        uint64_t received = atomic_load(&s->readers.received);
        if (received != seen)
            since_ns = now_ns();
        seen = received;
        publisher_flush(&s->publisher); /* a server whose answers nobody reads stops */
        pause_us(200);
    }
}

/* An open loop: events leave when it is their time, whatever became of those before. */
static void publish_paced(struct scenario *s, double seconds)
{
    uint64_t total = (uint64_t)(s->conf.rate * seconds), sent = 0;
    uint64_t began_ns = now_ns();
    double every_ns = 1e9 / s->conf.rate;

    while (sent < total) {
        uint64_t due_ns = began_ns + (uint64_t)((double)sent * every_ns),
                 at_ns = now_ns();
        if (at_ns < due_ns) {
            pause_us((long)((due_ns - at_ns) / 1000) + 1);
            continue;
        }
        if (at_ns - due_ns > s->late_max_ns)
            s->late_max_ns = at_ns - due_ns;
        for (; sent < total && began_ns + (uint64_t)((double)sent * every_ns) <= at_ns;
             sent++)
            send_events(s, (int)(sent % (uint64_t)s->conf.readers.threads), 1);
        publisher_flush(&s->publisher);
    }
}

/* Latencies and costs are of what comes behind this. */
static void warm_up(struct scenario *s)
{
    publish_paced(s, s->conf.warm_s);
    s->late_max_ns = 0;
    atomic_store(&s->readers.from_ns, now_ns());
    s->received_warm = atomic_load(&s->readers.received);
}

static void publish_rate(struct scenario *s)
{
    publish_paced(s, s->conf.seconds);
}

static void publish_flat(struct scenario *s)
{
    uint64_t began_ns = now_ns(), turn = 0;
    int batch = s->conf.publisher.by == BY_SCRIPT ? s->conf.publisher.batch : 1;

    while (seconds_since(began_ns) < s->conf.seconds) {
        if (under_way(s) > (uint64_t)s->conf.window) {
            publisher_flush(&s->publisher);
            pause_us(100);
            continue;
        }
        for (int i = 0; i < FLAT_TURN; i += batch, turn++)
            send_events(s, (int)(turn % (uint64_t)s->conf.readers.threads), batch);
        publisher_flush(&s->publisher);
    }
    s->per_second = (double)atomic_load(&s->readers.received) / seconds_since(began_ns);
}

static void publish_log(struct scenario *s)
{
    int batch = s->conf.publisher.by == BY_SCRIPT ? s->conf.publisher.batch : 1;

    for (int sent = 0; sent < s->conf.missed; sent += batch) {
        int count = s->conf.missed - sent < batch ? s->conf.missed - sent : batch;
        for (int thread = 0; thread < s->conf.readers.threads; thread++)
            send_events(s, thread, count);
    }
    if (!publisher_settle(&s->publisher, 60))
        die("the events were not taken");
}

/* --- scenarios -------------------------------------------------------------------- */

static void measure(struct scenario *s, void (*publish)(struct scenario *s))
{
    open_all(s);
    probe(s);
    s->kernel_open = usage_kernel();
    sample(s, &s->when_open, NULL);
    if (s->conf.warm_s > 0)
        warm_up(s);
    sample(s, &s->before, &s->beside_before);
    s->began_ns = now_ns();
    publish(s);
    wait_received(s);
    s->wall_s = seconds_since(s->began_ns);
    sample(s, &s->after, &s->beside_after);
    s->kernel_after = usage_kernel();
    s->stalled_cut = count_cut(s);
}

void scenario_rate(struct scenario *s)
{
    measure(s, publish_rate);
    s->per_second =
        (double)(atomic_load(&s->readers.received) - s->received_warm) / s->wall_s;
}

void scenario_flat(struct scenario *s)
{
    measure(s, publish_flat);
}

void scenario_idle(struct scenario *s)
{
    open_all(s);
    if (!wait_count(s, &s->readers.answered, PROBE_S * 1000))
        fprintf(stderr, "bench_load: not every stream was answered\n");
    sample(s, &s->before, &s->beside_before);
    pause_us(s->conf.settle_ms * 1000L);
    sample(s, &s->after, &s->beside_after);
    s->kernel_open = s->kernel_after = usage_kernel();
    s->when_open = s->after;
}

/* All readers are cut at once, miss events, and come back at once. */
void scenario_resume(struct scenario *s)
{
    open_all(s);
    probe(s);
    readers_close(&s->readers);
    publish_log(s);
    sample(s, &s->before, &s->beside_before);
    s->began_ns = now_ns();
    if (!readers_open(&s->readers))
        die("not every stream could be asked for again");
    s->reopen_s = seconds_since(s->began_ns);
    wait_received(s);
    s->wall_s = seconds_since(s->began_ns);
    sample(s, &s->after, &s->beside_after);
    s->per_second = (double)atomic_load(&s->readers.received) / s->wall_s;
}

/* The log is there before the readers are, who ask for all of it. */
void scenario_replay(struct scenario *s)
{
    publish_log(s);
    sample(s, &s->before, &s->beside_before);
    s->began_ns = now_ns();
    open_all(s);
    wait_received(s);
    s->wall_s = seconds_since(s->began_ns);
    sample(s, &s->after, &s->beside_after);
    s->per_second = (double)atomic_load(&s->readers.received) / s->wall_s;
}

void scenario_init(struct scenario *s, const struct scenario_conf *conf)
{
    memset(s, 0, sizeof(*s));
    s->conf = *conf;
    s->numbers = calloc((size_t)conf->readers.threads, sizeof(*s->numbers));
    s->stalled = calloc((size_t)conf->stalled + 1, sizeof(*s->stalled));
    if (!s->numbers || !s->stalled)
        die("numbers");
    prctl(PR_SET_TIMERSLACK, 1); /* else every pause is 50 µs longer */
    readers_init(&s->readers, &conf->readers);
    publisher_open(&s->publisher, &conf->publisher);
}

void scenario_fini(struct scenario *s)
{
    for (int i = 0; i < s->conf.stalled; i++)
        net_cut(s->stalled[i]);
    readers_fini(&s->readers);
    publisher_close(&s->publisher);
    free(s->numbers);
    free(s->stalled);
}
