/* connect: see the header. Many source addresses, so that thousands of connections, cut
 * again and again, do not run out of ports. */
#include "tests/faults/readers/connect.h"

#include "tests/faults/readers/farm.h"
#include "tests/faults/readers/mem.h"
#include "tests/faults/readers/report.h"
#include "tests/faults/readers/rng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEAD_MAX = 8192,
    REQUEST_MAX = 16384,
    SOURCES = 250,
    SLOW_BUFFER = 4096,
    USUAL_BUFFER = 256 * 1024,
    RETRY_FIRST_MS = 1000, /* until the bridge has said another */
    REFUSED_MS = 3000      /* a lasting refusal is asked about slowly */
};

int64_t connect_retry_ms(struct reader *r)
{
    int64_t ms = r->retry_ms ? r->retry_ms : RETRY_FIRST_MS;

    if (ms > r->farm->conf.retry_max_ms)
        ms = r->farm->conf.retry_max_ms;
    return ms / 2 + (int64_t)rng_below(&r->farm->random, (uint64_t)ms / 2 + 1);
}

/* --- the end ---------------------------------------------------------------------- */

/* What was heard and is not whole is forgotten: nobody has seen it. */
static void forget_connection(struct reader *r)
{
    if (r->state == READER_CONNECTING || r->state == READER_HEAD)
        port_answered(r->port);
    if (r->sse.retry_ms >= 0)
        r->retry_ms = r->sse.retry_ms;
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    sse_fini(&r->sse);
    free(r->head);
    r->head = NULL;
    r->head_len = 0;
    r->doomed = NULL;
    r->doomed_ms = 0;
    r->cut_left = r->cut_by_ms = r->stall_until_ms = 0;
    if (r->slow_until_ms)
        r->slow_bytes_s = r->slow_until_ms = 0;
}

void reader_drop(struct reader *r, const char *why, int64_t again_ms)
{
    reader_note(r, why);
    forget_connection(r);
    r->state = READER_WAITING;
    wakes_set(&r->farm->wakes, r, r->farm->now_ms + again_ms);
}

void reader_close(struct reader *r)
{
    if (r->state == READER_CLOSED)
        return;
    forget_connection(r);
    r->state = READER_CLOSED;
    wakes_set(&r->farm->wakes, r, 0);
}

void connect_cut(struct reader *r)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (r->cut_rst)
        setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    r->farm->totals.cut++;
    reader_drop(r, r->cut_rst ? "cut by the farm, RST" : "cut by the farm",
                connect_retry_ms(r));
}

/* --- the beginning ---------------------------------------------------------------- */

void reader_open(struct reader *r)
{
    r->state = READER_QUEUED;
    wakes_set(&r->farm->wakes, r, 0);
    farm_queue(r->farm, r);
}

void connect_narrow(struct reader *r, bool narrow)
{
    int size = narrow ? SLOW_BUFFER : USUAL_BUFFER;

    setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static bool socket_open(struct reader *r)
{
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET};

    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + r->number % SOURCES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)r->port->number);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0)
        return false;
    if (r->slow_bytes_s)
        connect_narrow(r, true);
    setsockopt(r->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(r->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
        return false;
    return connect(r->fd, (struct sockaddr *)&to, sizeof(to)) == 0 ||
           errno == EINPROGRESS;
}

void reader_connect(struct reader *r, struct port *port)
{
    struct epoll_event ev = {.events = EPOLLOUT, .data.ptr = r};

    r->port = port;
    r->state = READER_CONNECTING;
    r->farm->totals.connects++;
    r->farm->totals.reconnects += r->connections > 0;
    r->connections++;
    r->heard_ms = r->slow_at_ms = r->farm->now_ms;
    r->slow_left = r->slow_bytes_s;
    r->chunks = (struct chunks){0};
    sse_init(&r->sse);
    if (!socket_open(r) || epoll_ctl(r->farm->epoll, EPOLL_CTL_ADD, r->fd, &ev) != 0) {
        r->farm->totals.failed++;
        reader_drop(r, strerror(errno), connect_retry_ms(r));
        return;
    }
    reader_schedule(r);
}

static size_t add(char *out, size_t len, const char *text)
{
    size_t more = strlen(text);

    if (len + more >= REQUEST_MAX)
        return len;
    memcpy(out + len, text, more + 1);
    return len + more;
}

static size_t add_target(const struct reader *r, char *out, size_t len)
{
    const char *and = "?";

    if (r->view_count == 1) {
        len = add(out, len, "/v1/threads/");
        len = add(out, len, r->views[0].thread->id);
        len = add(out, len, "/events");
    } else {
        len = add(out, len, "/v1/events");
        for (size_t i = 0; i < r->view_count; i++, and = "&") {
            len = add(out, len, and);
            len = add(out, len, "thread=");
            len = add(out, len, r->views[i].thread->id);
        }
    }
    if (r->since) {
        len = add(out, len, and);
        len = add(out, len, "since=");
        len = add(out, len, r->since);
        and = "&";
    }
    if (!r->merge) {
        len = add(out, len, and);
        len = add(out, len, "merge=0");
    }
    return len;
}

static size_t request_write(const struct reader *r, char *out)
{
    size_t len = add(out, 0, "GET ");

    len = add_target(r, out, len);
    len = add(out, len, " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n");
    if (strcmp(r->token, "-") != 0) {
        len = add(out, len, "Authorization: Bearer ");
        len = add(out, len, r->token);
        len = add(out, len, "\r\n");
    }
    if (r->last_id[0]) {
        len = add(out, len, "Last-Event-ID: ");
        len = add(out, len, r->last_id);
        len = add(out, len, "\r\n");
    }
    return add(out, len, "\r\n");
}

void connect_made(struct reader *r)
{
    char request[REQUEST_MAX];
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    size_t len = request_write(r, request);
    if (error || send(r->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) {
        r->farm->totals.failed++;
        reader_drop(r, error ? strerror(error) : "the request was not taken",
                    connect_retry_ms(r));
        return;
    }
    r->state = READER_HEAD;
    r->heard_ms = r->farm->now_ms;
    connect_listen(r, true);
    reader_schedule(r);
}

void connect_listen(struct reader *r, bool wanted)
{
    struct epoll_event ev = {.events = wanted ? EPOLLIN : 0, .data.ptr = r};

    if (r->fd >= 0)
        epoll_ctl(r->farm->epoll, EPOLL_CTL_MOD, r->fd, &ev);
}

/* --- the answer's head ------------------------------------------------------------ */

static bool has_line(const char *head, const char *line)
{
    return strcasestr(head, line) != NULL;
}

/* A lasting refusal: told once, asked about again now and then. */
static void on_refused(struct reader *r, int status)
{
    const char *code = strstr(r->head, "\"code\":\"");
    char word[64] = "";

    if (code) {
        code += strlen("\"code\":\"");
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(code, "\""), code);
    }
    r->farm->totals.refused++;
    if (r->last_status != status)
        report_refused(r, status, word);
    r->last_status = status;
    r->doomed = "refused";
    r->doomed_ms = REFUSED_MS;
}

static void on_head(struct reader *r)
{
    int status = (int)strtol(r->head + strlen("HTTP/1.1 "), NULL, 10);

    if (strncmp(r->head, "HTTP/1.1 ", 9) != 0 || status < 200) {
        report_violation(r, NULL, "framing", "no HTTP/1.1: %.60s", r->head);
        r->doomed = "no HTTP";
    } else if (status != 200) {
        on_refused(r, status);
    } else if (!has_line(r->head, "\r\nContent-Type: text/event-stream\r\n") ||
               !has_line(r->head, "\r\nTransfer-Encoding: chunked\r\n")) {
        report_violation(r, NULL, "framing", "200, but no chunked event stream");
        r->doomed = "no event stream";
    } else {
        port_answered(r->port);
        r->state = READER_STREAM;
        r->last_status = 0;
        r->opened_wall_ms = r->farm->wall_ms;
        reader_note(r, "open");
        reader_schedule(r);
    }
}

size_t connect_head(struct reader *r, const char *data, size_t len)
{
    size_t before = r->head_len;

    if (!r->head)
        r->head = mem_zero(HEAD_MAX + 1);
    if (len > HEAD_MAX - before)
        len = HEAD_MAX - before;
    memcpy(r->head + before, data, len);
    r->head_len += len;
    r->head[r->head_len] = '\0';
    char *end = memmem(r->head, r->head_len, "\r\n\r\n", 4);
    if (end) {
        on_head(r);
        if (r->doomed)
            return len;
        len = (size_t)(end + 4 - r->head) - before;
        free(r->head);
        r->head = NULL;
        r->head_len = 0;
    } else if (r->head_len == HEAD_MAX) {
        report_violation(r, NULL, "framing", "a head of more than 8 KiB");
        r->doomed = "an endless head";
    }
    return len;
}
