/* IPv4 only: every server that is measured listens on 127.0.0.1. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_PER_ADDRESS 20000

void die(const char *format, ...)
{
    int error = errno;
    va_list args;

    va_start(args, format);
    fprintf(stderr, "bench_load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %s\n", strerror(error));
    va_end(args);
    exit(2);
}

static struct sockaddr_in loopback(unsigned host, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK + host);
    return a;
}

int net_connect(int port, int index, int rcvbuf_bytes)
{
    struct sockaddr_in from = loopback((unsigned)(index / PORTS_PER_ADDRESS), 0);
    struct sockaddr_in to = loopback(0, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (rcvbuf_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf_bytes, sizeof(rcvbuf_bytes));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0 &&
        connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

void net_cut(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

size_t net_fill(char *at, size_t size, const char *pattern, unsigned number)
{
    size_t len = 0;

    for (; *pattern && len + 1 < size; pattern++) {
        if (pattern[0] == '{' && pattern[1] == '}') {
            int n = snprintf(at + len, size - len, "%u", number);
            len = len + (size_t)n < size ? len + (size_t)n : size - 1;
            pattern++;
        } else {
            at[len++] = *pattern;
        }
    }
    at[len] = '\0';
    return len;
}

bool net_write(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void net_raise_limits(int wanted)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= (rlim_t)wanted)
        return;
    limit.rlim_cur = (rlim_t)wanted;
    if (limit.rlim_max < (rlim_t)wanted)
        limit.rlim_max = (rlim_t)wanted; /* only root may */
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("%d descriptors are not allowed here", wanted);
}
