/* bench_load: opens streams, publishes events, counts every event at every reader, and
 * prints what came of it, and what the server used for it, as one JSON object.
 *
 *   bench_load rate --port 8080 --path '/v1/threads/t{}/events?since=now' --readers 1000
 * \
 *       --header "Authorization: Bearer $token" --redis-port 6379 --rate 20 --pids 1234
 *
 *   rate     an open loop: so many events a second, whatever becomes of them
 *   flat     as fast as possible, with a limit to what is under way
 *   idle     opens the streams, and looks at memory
 *   resume   cuts all readers at once; when do they have what they missed?
 *   replay   a log that is there already, asked for by all
 *
 * It knows no server: where streams are and how events get in is said by options, and
 * events are known by their mark (mark.h). Exit status: 0 when nothing was lost, repeated
 * or refused; 1 otherwise; 2 when it could not measure. */
#include "net.h"
#include "scenario.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct mode {
    const char *name;
    void (*run)(struct scenario *s);
} modes[] = {
    {"rate", scenario_rate},     {"flat", scenario_flat},     {"idle", scenario_idle},
    {"resume", scenario_resume}, {"replay", scenario_replay}, {NULL, NULL},
};

/* Every option is a number, a text, or a list of processes. */
static struct scenario_conf conf = {
    .readers = {.path = "/", .count = 100, .threads = 1},
    .publisher = {.channel = "thread:t{}",
                  .before = "",
                  .after = "",
                  .text_bytes = 40,
                  .batch = 8},
    .rate = 100,
    .seconds = 5,
    .window = 10000,
    .missed = 100,
    .settle_ms = 1500,
    .patience_s = 3,
};
static int redis_port = 6379, post_port;

static const struct setting {
    const char *name, *what;
    int *number;
    double *real;
    const char **text;
    struct usage_of *pids;
} settings[] = {
    {.name = "port", .number = &conf.readers.port, .what = "where the server listens"},
    {.name = "path", .text = &conf.readers.path, .what = "of a stream; {} is its thread"},
    {.name = "header", .text = &conf.readers.header, .what = "one more, of its request"},
    {.name = "readers", .number = &conf.readers.count, .what = "how many"},
    {.name = "threads", .number = &conf.readers.threads, .what = "they are spread over"},
    {.name = "first",
     .number = &conf.readers.first,
     .what = "number of the first thread"},
    {.name = "stalled", .number = &conf.stalled, .what = "readers more that never read"},
    {.name = "rate", .real = &conf.rate, .what = "events a second, of all threads"},
    {.name = "warm", .real = &conf.warm_s, .what = "seconds before it counts"},
    {.name = "seconds", .real = &conf.seconds, .what = "of publishing"},
    {.name = "window", .number = &conf.window, .what = "flat: deliveries under way"},
    {.name = "missed", .number = &conf.missed, .what = "resume, replay: events a thread"},
    {.name = "settle-ms", .number = &conf.settle_ms, .what = "idle: before the look"},
    {.name = "patience", .number = &conf.patience_s, .what = "seconds without progress"},
    {.name = "text", .number = &conf.publisher.text_bytes, .what = "bytes of an event's"},
    {.name = "redis-port", .number = &redis_port, .what = "to publish to"},
    {.name = "channel", .text = &conf.publisher.channel, .what = "for PUBLISH"},
    {.name = "script", .text = &conf.publisher.script, .what = "publish by publish.lua"},
    {.name = "batch",
     .number = &conf.publisher.batch,
     .what = "flat: events in its call"},
    {.name = "post-port", .number = &post_port, .what = "publish by POST, to this port"},
    {.name = "post-path", .text = &conf.publisher.path, .what = "and this path"},
    {.name = "post-header", .text = &conf.publisher.header, .what = "with this header"},
    {.name = "post-before", .text = &conf.publisher.before, .what = "before the event"},
    {.name = "post-after", .text = &conf.publisher.after, .what = "and behind it"},
    {.name = "pids", .pids = &conf.server, .what = "the server: 12,34"},
    {.name = "beside", .pids = &conf.beside, .what = "what it needs, say Redis"},
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

_Noreturn static void usage_exit(FILE *to)
{
    fprintf(to, "usage: bench_load rate|flat|idle|resume|replay [--option value]…\n\n");
    for (size_t i = 0; i < SETTINGS; i++)
        fprintf(to, "  --%-12s %s\n", settings[i].name, settings[i].what);
    exit(to == stdout ? 0 : 2);
}

static bool setting_set(const struct setting *s, const char *value)
{
    char *end = NULL;

    if (s->text) {
        *s->text = value;
        return true;
    }
    if (s->pids)
        return usage_parse(s->pids, value);
    if (s->number)
        *s->number = (int)strtol(value, &end, 10);
    else
        *s->real = strtod(value, &end);
    return end != value && *end == '\0';
}

static const struct mode *options_read(int argc, char **argv)
{
    struct option options[SETTINGS + 2] = {{"help", no_argument, NULL, 'h'}};
    const struct mode *mode = modes;
    int index, found;

    for (size_t i = 0; i < SETTINGS; i++)
        options[i + 1] =
            (struct option){settings[i].name, required_argument, NULL, (int)(1000 + i)};
    while ((found = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (found == 'h')
            usage_exit(stdout);
        if (found < 1000 || !setting_set(&settings[found - 1000], optarg))
            usage_exit(stderr);
    }
    while (optind < argc && mode->name && strcmp(mode->name, argv[optind]) != 0)
        mode++;
    if (optind != argc - 1 || !mode->name || conf.readers.count < 1 ||
        conf.readers.threads < 1 || conf.publisher.batch < 1 || conf.rate <= 0)
        usage_exit(stderr);
    conf.publisher.by = post_port               ? BY_POST
                        : conf.publisher.script ? BY_SCRIPT
                                                : BY_PUBLISH;
    conf.publisher.port = post_port ? post_port : redis_port;
    conf.readers.cursors = mode->run == scenario_resume;
    return mode;
}

/* --- what came out ---------------------------------------------------------------- */

static void print_latency(const struct histogram *h)
{
    static const struct {
        const char *name;
        double share;
    } at[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

    printf("\"latency_ms\":{");
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
        printf("\"%s\":%.4f,", at[i].name, (double)histogram_at(h, at[i].share) / 1e6);
    printf("\"max\":%.4f},", (double)h->max_ns / 1e6);
}

static void print_cost(const char *name, const struct usage *a, const struct usage *b,
                       uint64_t received)
{
    double us = (double)(b->cpu_ns - a->cpu_ns) / 1e3;

    printf("\"%s\":{\"cpu_s\":%.4f,\"us_per_event\":%.4f},", name, us / 1e6,
           received ? us / (double)received : 0.0);
}

static void print_memory(const struct scenario *s)
{
    printf("\"user_bytes\":{\"start\":%lu,\"open\":%lu,\"end\":%lu,\"anon_start\":%lu,"
           "\"anon_open\":%lu,\"anon_end\":%lu},",
           s->at_start.pss_bytes, s->when_open.pss_bytes, s->after.pss_bytes,
           s->at_start.anon_bytes, s->when_open.anon_bytes, s->after.anon_bytes);
    printf("\"kernel_bytes\":{\"slab_start\":%lu,\"slab_open\":%lu,\"slab_end\":%lu,"
           "\"tcp_start\":%lu,\"tcp_open\":%lu,\"tcp_end\":%lu},",
           s->kernel_start.slab_bytes, s->kernel_open.slab_bytes,
           s->kernel_after.slab_bytes, s->kernel_start.tcp_bytes,
           s->kernel_open.tcp_bytes, s->kernel_after.tcp_bytes);
}

/* Answers whether nothing was lost, repeated or refused. */
static bool report(const char *mode, const struct scenario *s)
{
    const struct readers *r = &s->readers;
    uint64_t received = r->received,
             lost = s->expected > received ? s->expected - received : 0;
    struct rusage own;

    getrusage(RUSAGE_SELF, &own);
    printf(
        "{\"mode\":\"%s\",\"readers\":%d,\"threads\":%d,\"stalled\":%d,"
        "\"stalled_cut\":%u,\"published\":%lu,\"expected\":%lu,\"received\":%lu,"
        "\"lost\":%lu,\"repeated\":%llu,\"reordered\":%llu,\"refused\":%u,\"ended\":%u,"
        "\"publish_errors\":%lu,\"bytes\":%llu,",
        mode, s->conf.readers.count, s->conf.readers.threads, s->conf.stalled,
        s->stalled_cut, s->published, s->expected, received, lost, r->repeated,
        r->reordered, r->refused, r->ended, s->publisher.errors, r->bytes);
    print_latency(&r->latency);
    print_cost("server", &s->before, &s->after, received - s->received_warm);
    print_cost("beside", &s->beside_before, &s->beside_after,
               received - s->received_warm);
    print_memory(s);
    printf("\"open_s\":%.4f,\"probe_s\":%.4f,\"reopen_s\":%.4f,\"wall_s\":%.4f,"
           "\"events_per_s\":%.1f,\"late_max_ms\":%.3f,\"client_cpu_s\":%.3f}\n",
           s->open_s, s->probe_s, s->reopen_s, s->wall_s, s->per_second,
           (double)s->late_max_ns / 1e6,
           (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
               (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6);
    return lost == 0 && r->repeated == 0 && r->reordered == 0 && r->refused == 0 &&
           r->ended == 0 && s->publisher.errors == 0;
}

int main(int argc, char **argv)
{
    const struct mode *mode = options_read(argc, argv);
    struct scenario s;
    bool good;

    net_raise_limits(conf.readers.count + conf.stalled + 64);
    scenario_init(&s, &conf);
    mode->run(&s);
    readers_close(&s.readers); /* so that its thread's figures are ours */
    good = report(mode->name, &s);
    scenario_fini(&s);
    return good ? 0 : 1;
}
