/* The answers are read as lines, just far enough to count them and to see a refusal. */
#include "publisher.h"
#include "mark.h"
#include "net.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_BYTES (1024 * 1024)
#define FLUSH_BYTES (32 * 1024)
#define EVENT_BYTES (128 * 1024) /* more than the largest event */

static void append(struct publisher *p, const char *bytes, size_t len)
{
    memcpy(p->out + p->out_len, bytes, len);
    p->out_len += len;
}

__attribute__((format(printf, 2, 3))) static void append_text(struct publisher *p,
                                                              const char *format, ...)
{
    va_list args;

    va_start(args, format);
    p->out_len += (size_t)vsnprintf(p->out + p->out_len, EVENT_BYTES, format, args);
    va_end(args);
}

static void append_bulk(struct publisher *p, const char *bytes, size_t len)
{
    append_text(p, "$%zu\r\n", len);
    append(p, bytes, len);
    append(p, "\r\n", 2);
}

/* A token event of this thread; its text is a mark and padding. */
static size_t event_write(const struct publisher *p, char *at, unsigned thread,
                          uint32_t number)
{
    int pad = p->conf.text_bytes > MARK_BYTES ? p->conf.text_bytes - MARK_BYTES : 0;
    size_t len = (size_t)sprintf(
        at, "{\"type\":\"token\",\"threadId\":\"t%u\",\"content\":\"", thread);

    mark_write(at + len, (struct mark){now_ns(), number});
    memset(at + len + MARK_BYTES, 'x', (size_t)pad);
    len += MARK_BYTES + (size_t)pad;
    return len + (size_t)sprintf(at + len, "\",\"ts\":1700000000000}");
}

static void send_publish(struct publisher *p, unsigned thread, uint32_t number)
{
    char channel[256], event[EVENT_BYTES];
    size_t len = net_fill(channel, sizeof(channel), p->conf.channel, thread);

    append_text(p, "*3\r\n$7\r\nPUBLISH\r\n");
    append_bulk(p, channel, len);
    append_bulk(p, event, event_write(p, event, thread, number));
}

/* Mode `outside` of docs/PUBLISHING.md: ids and the log, without a run of its own. */
static void send_script(struct publisher *p, unsigned thread, uint32_t number, int count)
{
    char text[128], event[EVENT_BYTES];
    const char *rest[] = {"20000", "16777216", "86400", p->redis_id, "", "0", "0", ""};

    append_text(p, "*%d\r\n$7\r\nEVALSHA\r\n", 3 + 2 + 3 + 8 + count);
    append_bulk(p, p->sha, 40);
    append_bulk(p, "2", 1);
    append_bulk(p, text, net_fill(text, sizeof(text), "{thread:t{}}:log", thread));
    append_bulk(p, text, net_fill(text, sizeof(text), "{thread:t{}}:state", thread));
    append_bulk(p, "1", 1);
    append_bulk(p, "outside", 7);
    append_bulk(p, text, net_fill(text, sizeof(text), "thread:t{}", thread));
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
        append_bulk(p, rest[i], strlen(rest[i]));
    for (int i = 0; i < count; i++) {
        uint32_t own = number ? number + (uint32_t)i : 0;
        append_bulk(p, event, event_write(p, event, thread, own));
        if (p->out_len > FLUSH_BYTES)
            publisher_flush(p);
    }
}

static void send_post(struct publisher *p, unsigned thread, uint32_t number)
{
    char path[512], before[512], after[512], event[EVENT_BYTES];
    size_t len = event_write(p, event, thread, number);

    net_fill(path, sizeof(path), p->conf.path, thread);
    len += net_fill(before, sizeof(before), p->conf.before, thread);
    len += net_fill(after, sizeof(after), p->conf.after, thread);
    append_text(p,
                "POST %s HTTP/1.1\r\nHost: localhost\r\n%s%s"
                "Content-Length: %zu\r\n\r\n%s",
                path, p->conf.header ? p->conf.header : "", p->conf.header ? "\r\n" : "",
                len, before);
    append(p, event, len - strlen(before) - strlen(after));
    append(p, after, strlen(after));
}

void publisher_send(struct publisher *p, unsigned thread, uint32_t number, int count)
{
    if (p->conf.by == BY_SCRIPT) {
        p->calls++;
        send_script(p, thread, number, count);
        return;
    }
    for (int i = 0; i < count; i++, p->calls++) {
        if (p->conf.by == BY_PUBLISH)
            send_publish(p, thread, number ? number + (uint32_t)i : 0);
        else
            send_post(p, thread, number ? number + (uint32_t)i : 0);
        if (p->out_len > FLUSH_BYTES)
            publisher_flush(p);
    }
}

/* --- answers ---------------------------------------------------------------------- */

static void on_error(struct publisher *p)
{
    if (p->errors++ == 0)
        fprintf(stderr, "bench_load: the first refusal of an event: %s\n", p->line);
}

static void on_line(struct publisher *p)
{
    const char *status;

    p->line[p->line_len < sizeof(p->line) ? p->line_len : sizeof(p->line) - 1] = '\0';
    if (p->conf.by == BY_POST) { /* a body may end without a line break */
        status = strstr(p->line, "HTTP/1.");
        p->answers += status != NULL;
        if (status && strncmp(status + 8, " 2", 2) != 0)
            on_error(p);
    } else {
        p->answers += p->line[0] == ':' || p->line[0] == '*' || p->line[0] == '-';
        if (p->line[0] == '-')
            on_error(p);
    }
    p->line_len = 0;
}

static void take_answers(struct publisher *p)
{
    char bytes[65536];
    ssize_t n;

    while ((n = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n')
                on_line(p);
            else if (p->line_len < sizeof(p->line) - 1)
                p->line[p->line_len++] = bytes[i];
        }
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        die("the publisher's connection ended after %lu answers",
            (unsigned long)p->answers);
}

void publisher_flush(struct publisher *p)
{
    size_t done = 0;

    while (done < p->out_len) {
        struct pollfd fd = {.fd = p->fd, .events = POLLIN | POLLOUT};
        ssize_t n =
            send(p->fd, p->out + done, p->out_len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            die("publishing");
        done += n > 0 ? (size_t)n : 0;
        if (done < p->out_len && poll(&fd, 1, -1) > 0 && fd.revents & POLLIN)
            take_answers(p);
    }
    p->out_len = 0;
    take_answers(p);
}

bool publisher_settle(struct publisher *p, int seconds)
{
    uint64_t end_ns = now_ns() + (uint64_t)seconds * 1000000000ull;

    publisher_flush(p);
    while (p->answers < p->calls && now_ns() < end_ns) {
        struct pollfd fd = {.fd = p->fd, .events = POLLIN};
        if (poll(&fd, 1, 20) > 0)
            take_answers(p);
    }
    return p->answers >= p->calls;
}

/* --- beginning -------------------------------------------------------------------- */

/* Sends a command, waits, and copies what stands between `mark` and the line's end. */
static void ask(struct publisher *p, const char *mark, char *ret, size_t size)
{
    char answer[65536];
    size_t len = 0;
    const char *at = NULL;

    if (!net_write(p->fd, p->out, p->out_len))
        die("asking Redis");
    p->out_len = 0;
    while (!at || !strchr(at, '\r')) {
        ssize_t n = recv(p->fd, answer + len, sizeof(answer) - 1 - len, 0);
        if (n <= 0)
            die("Redis' answer");
        len += (size_t)n;
        answer[len] = '\0';
        at = strstr(answer, mark);
        if (answer[0] == '-')
            die("Redis says %s", answer);
    }
    at += strlen(mark);
    snprintf(ret, size, "%.*s", (int)strcspn(at, "\r"), at);
    while (recv(p->fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
        ; /* the rest of INFO */
}

static void script_load(struct publisher *p)
{
    char script[EVENT_BYTES / 2];
    FILE *file = fopen(p->conf.script, "re");
    size_t len = file ? fread(script, 1, sizeof(script), file) : 0;

    if (!file || len == 0 || len == sizeof(script))
        die("%s", p->conf.script);
    fclose(file);
    append_text(p, "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n");
    append_bulk(p, script, len);
    ask(p, "$40\r\n", p->sha, sizeof(p->sha));
    append_text(p, "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n");
    ask(p, "\r\nrun_id:", p->redis_id, sizeof(p->redis_id));
}

void publisher_open(struct publisher *p, const struct publisher_conf *conf)
{
    memset(p, 0, sizeof(*p));
    p->conf = *conf;
    p->out = malloc(OUT_BYTES);
    p->fd = net_connect(conf->port, 0, 0);
    if (!p->out || p->fd < 0)
        die("connecting the publisher to port %d", conf->port);
    if (conf->by == BY_SCRIPT)
        script_load(p);
}

void publisher_close(struct publisher *p)
{
    net_cut(p->fd);
    free(p->out);
}
