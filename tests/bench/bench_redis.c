/* How much of a core the Redis connection takes: publishing with some commands in flight,
 * receiving as fast as Redis sends, and from a socket that is full. Prints, asserts
 * nothing. */
#include "../unit/test_redis_probe.h"
#include "../unit/test_redis_server.h"

#include <time.h>

#define PAYLOAD 200
#define CHANNEL "thread:bench"

struct bench {
    struct probe p;
    char payload[PAYLOAD + 1];
    int wanted, sent;
};

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const char *what, int n, double wall_s, double spent_s)
{
    printf("%-34s %9.0f/s  %.2f µs of a core each\n", what, n / wall_s,
           spent_s / n * 1e6);
    fflush(stdout);
}

static void on_published(struct redis *r, const struct redis_reply *reply, void *arg)
{
    struct bench *b = arg;

    b->p.replies++;
    if (reply && b->sent < b->wanted) {
        b->sent++;
        redis_sendv(r, on_published, b, "PUBLISH", CHANNEL, b->payload, NULL);
    }
}

static void publish(struct bench *b, int in_flight, int count)
{
    int64_t start_us = clock_us();
    double start_s = cpu_s();
    char what[64];

    b->p.replies = 0;
    b->wanted = count;
    for (b->sent = 0; b->sent < in_flight; b->sent++)
        redis_sendv(b->p.redis, on_published, b, "PUBLISH", CHANNEL, b->payload, NULL);
    probe_wait(&b->p, &b->p.replies, count);
    snprintf(what, sizeof(what), "publish, %d in flight", in_flight);
    report(what, count, (double)(clock_us() - start_us) / 1e6, cpu_s() - start_s);
}

/* Another process publishes; it waits for the answers of every hundred. */
static pid_t flood(const struct test_redis *s, const char *payload, int count)
{
    pid_t pid = fork();
    struct buf batch;
    char answers[400];
    int fd;

    if (pid != 0)
        return pid;
    fd = test_redis_connect(s);
    buf_init(&batch);
    for (int i = 0; i < 100; i++)
        buf_printf(&batch, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n" CHANNEL "\r\n$%d\r\n%s\r\n",
                   strlen(CHANNEL), PAYLOAD, payload);
    for (int i = 0; i < count; i += 100) {
        size_t wrote = 0, got = 0;
        while (wrote < batch.len)
            wrote += (size_t)write(fd, batch.data + wrote, batch.len - wrote);
        while (got < sizeof(answers)) /* ":1\r\n" each */
            got += (size_t)read(fd, answers, sizeof(answers) - got);
    }
    _exit(0);
}

static void receive(struct bench *b, const struct test_redis *s, bool backlog, int count)
{
    pid_t pid = flood(s, b->payload, count);
    int64_t start_us;
    double start_s;

    if (backlog)
        waitpid(pid, NULL, 0);
    b->p.messages = b->p.batches = 0;
    start_us = clock_us();
    start_s = cpu_s();
    probe_wait(&b->p, &b->p.messages, count);
    report(backlog ? "receive, all of it waiting" : "receive, as Redis sends", count,
           (double)(clock_us() - start_us) / 1e6, cpu_s() - start_s);
    if (!backlog)
        waitpid(pid, NULL, 0);
}

int main(void)
{
    const char *extra[] = {"--client-output-buffer-limit", "pubsub 0 0 0", NULL};
    struct test_redis server;
    struct bench b = {0};
    char url[64];

    signal(SIGPIPE, SIG_IGN);
    test_redis_start(&server, extra);
    memset(b.payload, 'x', PAYLOAD);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.port);
    probe_open(&b.p, url, (struct redis_options){0}, NULL);
    probe_wait(&b.p, &b.p.ready, 1);
    publish(&b, 1, 30000);
    publish(&b, 10, 150000);
    publish(&b, 100, 500000);
    probe_close(&b.p);
    probe_open(&b.p, url, (struct redis_options){.subscriber = true}, NULL);
    probe_wait(&b.p, &b.p.ready, 1);
    redis_subscribe(b.p.redis, CHANNEL, strlen(CHANNEL));
    probe_wait(&b.p, &b.p.subscribed, 1);
    receive(&b, &server, false, 1000000);
    receive(&b, &server, true, 300000);
    probe_close(&b.p);
    test_redis_stop(&server);
    return 0;
}
