/* log: builds one line on the stack and gives it to the kernel in one write. Every path
 * here ends quickly whatever stands behind stderr: a full pipe, a stopped reader, a
 * closed socket, a full disk. It must never wait, allocate or log. */
#include "common/log.h"

#include "common/clock.h"
#include "common/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_VALUE_MAX = 1024,
    LOG_LINE_MAX = PIPE_BUF, /* written as a whole or not at all */
    LOG_TAIL = 16,           /* room kept for what closes a line that was cut */
};

static enum log_level log_level = LOG_LEVEL_INFO;
static enum log_format log_format = LOG_FORMAT_TEXT;
static int log_fd = STDERR_FILENO;
static atomic_uint_fast64_t log_lost;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* A pipe or a terminal shares its O_NONBLOCK with every process that has it, so we open
 * it once more for ourselves. Where that is refused, poll() before the write must do. */
static int open_again(void)
{
    struct stat st;

    if (fstat(STDERR_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
            return fd;
    }
    return STDERR_FILENO;
}

void log_setup(enum log_level level, enum log_format format)
{
    log_level = level;
    log_format = format;
    signal(SIGPIPE, SIG_IGN);
    /* a closed 0, 1 or 2 would soon be a socket that log lines are written into */
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            atomic_fetch_add(&log_lost, 1);
    }
    if (log_fd != STDERR_FILENO)
        close(log_fd);
    log_fd = open_again();
}

bool log_enabled(enum log_level level)
{
    return level >= log_level;
}

uint64_t log_dropped(void)
{
    return atomic_load(&log_lost);
}

/* --- the line ---------------------------------------------------------------- */

struct line {
    char at[LOG_LINE_MAX];
    size_t len;
    bool cut;
};

/* All of it or nothing, and nothing more once a piece was left out. */
static bool put(struct line *l, const char *s, size_t len)
{
    if (l->cut || len > sizeof(l->at) - LOG_TAIL - l->len) {
        l->cut = true;
        return false;
    }
    memcpy(l->at + l->len, s, len);
    l->len += len;
    return true;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* What ends a line always fits: LOG_TAIL is kept for it. */
static void put_tail(struct line *l, const char *s)
{
    size_t len = strlen(s);

    memcpy(l->at + l->len, s, len);
    l->len += len;
}

/* One character: as it is, escaped, or U+FFFD. C1 controls move terminals, too. */
static bool put_char(struct line *l, const unsigned char *s, size_t *ret_used, size_t len)
{
    size_t n = utf8_length(s, len);
    char escape[8];

    *ret_used = n ? n : utf8_invalid_length(s, len);
    if (!n)
        return put(l, "\xEF\xBF\xBD", 3);
    if (*s == '"' || *s == '\\')
        return put(l, *s == '"' ? "\\\"" : "\\\\", 2);
    if (*s == '\n')
        return put(l, "\\n", 2);
    if (*s < 0x20 || *s == 0x7F || (*s == 0xC2 && s[1] < 0xA0)) {
        snprintf(escape, sizeof(escape), "\\u%04x", n == 2 ? s[1] : s[0]);
        return put(l, escape, 6);
    }
    return put(l, (const char *)s, n);
}

static void put_quoted(struct line *l, const char *s, size_t len)
{
    size_t used, before = l->len;

    if (!put(l, "\"", 1))
        return;
    /* escapes may make six bytes of one */
    for (size_t i = 0; i < len && l->len - before < LOG_VALUE_MAX; i += used) {
        if (!put_char(l, (const unsigned char *)s + i, &used, len - i))
            break;
    }
    put_tail(l, "\"");
}

static bool is_plain(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] <= ' ' || s[i] == '"' || s[i] == '\\' || s[i] == '=' || s[i] == 0x7F)
            return false;
    }
    return len > 0;
}

static void put_field(struct line *l, const struct log_field *f)
{
    bool json = log_format == LOG_FORMAT_JSON;
    char number[24];
    size_t len;

    put_str(l, json ? ",\"" : " ");
    put_str(l, f->key);
    put_str(l, json ? "\":" : "=");
    if (!f->str) {
        snprintf(number, sizeof(number), "%lld", (long long)f->num);
        put_str(l, number);
        return;
    }
    len = strnlen(f->str, LOG_VALUE_MAX + 1);
    if (len > LOG_VALUE_MAX)
        len = utf8_whole(f->str, LOG_VALUE_MAX);
    if (json || !is_plain(f->str, len))
        put_quoted(l, f->str, len);
    else
        put(l, f->str, len);
}

/* A field that does not fit whole leaves no trace but the mark that something is gone. */
static void put_fields(struct line *l, const struct log_field *fields)
{
    for (const struct log_field *f = fields; f && f->key; f++) {
        size_t before = l->len;
        put_field(l, f);
        if (l->cut) {
            l->len = before;
            return;
        }
    }
}

static void build(struct line *l, enum log_level level, const char *msg,
                  const struct log_field *fields)
{
    bool json = log_format == LOG_FORMAT_JSON;
    char ts[CLOCK_ISO_SIZE];
    size_t len = strnlen(msg, LOG_VALUE_MAX);

    clock_iso(clock_wall_ms(), ts);
    put_str(l, json ? "{\"ts\":\"" : "");
    put_str(l, ts);
    put_str(l, json ? "\",\"level\":\"" : " ");
    put_str(l, level_names[level]);
    put_str(l, json ? "\",\"msg\":" : " ");
    if (json) {
        put_quoted(l, msg, len);
    } else {
        size_t used;
        for (size_t i = 0; i < len; i += used)
            put_char(l, (const unsigned char *)msg + i, &used, len - i);
    }
    put_fields(l, fields);
    if (l->cut)
        put_tail(l, json ? ",\"cut\":1" : " cut=1");
    put_tail(l, json ? "}\n" : "\n");
}

/* --- the write --------------------------------------------------------------- */

static bool give(const char *at, size_t len)
{
    struct pollfd p = {.fd = log_fd, .events = POLLOUT};
    ssize_t n;

    do {
        n = send(log_fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == ENOTSOCK) {
        if (log_fd == STDERR_FILENO && poll(&p, 1, 0) != 1)
            return false;
        do {
            n = write(log_fd, at, len);
        } while (n < 0 && errno == EINTR);
    }
    return n == (ssize_t)len;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    int saved = errno;
    struct line l;

    l.len = 0;
    l.cut = false;
    build(&l, level, msg, fields);
    if (!give(l.at, l.len))
        atomic_fetch_add(&log_lost, 1);
    errno = saved;
}
