/* address: see address.h. */
#include "bridge/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Any address as the 16 bytes of IPv6, IPv4 mapped into it. */
struct address {
    unsigned char bytes[16];
    bool v4;
};

static bool parse_host(const char *text, struct address *ret)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    ret->v4 = inet_pton(AF_INET, text, ret->bytes + 12) == 1;
    if (ret->v4) {
        memcpy(ret->bytes, mapped, sizeof mapped);
        return true;
    }
    if (inet_pton(AF_INET6, text, ret->bytes) != 1)
        return false;
    ret->v4 = memcmp(ret->bytes, mapped, sizeof mapped) == 0;
    return true;
}

static bool parse_port(const char *text, in_port_t *ret)
{
    char *end;
    unsigned long port;

    if (*text < '0' || *text > '9')
        return false;
    port = strtoul(text, &end, 10);
    if (*end || port > 65535)
        return false;
    *ret = htons((in_port_t)port);
    return true;
}

bool address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                   struct buf *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    const char *colon = strrchr(text, ':');
    char host[ADDRESS_SIZE];
    size_t len = colon ? (size_t)(colon - text) : 0;
    in_port_t port;

    memset(ret, 0, sizeof *ret);
    if (!colon || len == 0 || len >= sizeof host || !parse_port(colon + 1, &port)) {
        buf_str(err, "must be host:port, like 127.0.0.1:8080 or [::1]:8080");
        return false;
    }
    memcpy(host, text, len);
    host[len] = 0;
    if (strcmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        *ret_len = sizeof *v4;
        return true;
    }
    if (host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = 0;
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = port;
            *ret_len = sizeof *v6;
            return true;
        }
    }
    buf_str(err, "the host must be an IP address or localhost");
    return false;
}

void address_host(const struct sockaddr *addr, socklen_t len, char out[ADDRESS_SIZE])
{
    const struct sockaddr_in6 *v6 = (const void *)addr;

    memcpy(out, "unix", sizeof "unix");
    if (addr->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *v4 = (const void *)addr;
        inet_ntop(AF_INET, &v4->sin_addr, out, ADDRESS_SIZE);
    } else if (addr->sa_family == AF_INET6 && len >= sizeof *v6) {
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out, ADDRESS_SIZE);
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, out, ADDRESS_SIZE);
    }
}

void address_format(const struct sockaddr *addr, socklen_t len, char out[ADDRESS_SIZE])
{
    char host[ADDRESS_SIZE];
    in_port_t port = 0;

    address_host(addr, len, host);
    if (addr->sa_family == AF_INET)
        port = ((const struct sockaddr_in *)(const void *)addr)->sin_port;
    else if (addr->sa_family == AF_INET6)
        port = ((const struct sockaddr_in6 *)(const void *)addr)->sin6_port;
    if (snprintf(out, ADDRESS_SIZE, strchr(host, ':') ? "[%.45s]:%u" : "%.45s:%u", host,
                 ntohs(port)) < 0)
        out[0] = 0;
}

bool address_loopback(const struct sockaddr *addr)
{
    char host[ADDRESS_SIZE];
    socklen_t len = addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                               : sizeof(struct sockaddr_in6);

    address_host(addr, len, host);
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

/* One element of a list, `10.0.0.0/8`: its address and how many of the 128 bits count. */
static bool parse_block(const char *at, size_t len, struct address *ret, int *ret_bits)
{
    char text[ADDRESS_SIZE], *slash, *end;
    long bits, most;

    if (len == 0 || len >= sizeof text)
        return false;
    memcpy(text, at, len);
    text[len] = 0;
    slash = strchr(text, '/');
    if (slash)
        *slash = 0;
    if (!parse_host(text, ret))
        return false;
    most = ret->v4 && !strchr(text, ':') ? 32 : 128;
    bits = most;
    if (slash) {
        if (slash[1] < '0' || slash[1] > '9')
            return false;
        bits = strtol(slash + 1, &end, 10);
        if (*end || bits > most)
            return false;
    }
    *ret_bits = (int)(bits + 128 - most);
    return true;
}

/* Walks `list`; *pos ends at its end. */
static bool next_item(const char *list, size_t *pos, const char **ret_at, size_t *ret_len)
{
    const char *at = list + *pos;

    if (*at == 0)
        return false;
    *ret_at = at + strspn(at, " ");
    *ret_len = strcspn(*ret_at, ",");
    *pos = (size_t)(*ret_at - list) + *ret_len;
    if (list[*pos] == ',')
        ++*pos;
    while (*ret_len > 0 && (*ret_at)[*ret_len - 1] == ' ')
        --*ret_len;
    return true;
}

bool address_list_valid(const char *list, struct buf *err)
{
    struct address block;
    const char *at;
    size_t pos = 0, len;
    int bits;

    while (list && next_item(list, &pos, &at, &len)) {
        if (!parse_block(at, len, &block, &bits)) {
            buf_str(err, "must be addresses or blocks like 10.0.0.0/8, comma separated");
            return false;
        }
    }
    return true;
}

static bool same_bits(const unsigned char *a, const unsigned char *b, int bits)
{
    int whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

bool address_listed(const char *list, const char *host)
{
    struct address who, block;
    const char *at;
    size_t pos = 0, len;
    int bits;

    if (!list || !parse_host(host, &who))
        return false;
    while (next_item(list, &pos, &at, &len))
        if (parse_block(at, len, &block, &bits) &&
            same_bits(block.bytes, who.bytes, bits))
            return true;
    return false;
}

static struct span trim(struct span s)
{
    while (s.len > 0 && (*s.at == ' ' || *s.at == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* `:1234`, or nothing. */
static bool port_or_nothing(struct span s)
{
    if (s.len == 0)
        return true;
    if (s.len < 2 || s.len > 6 || *s.at != ':')
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
    return true;
}

/* What somebody was forwarded for: an address. Some load balancers add the port, and
 * brackets to an IPv6 address then. */
static bool read_node(struct span item, char out[ADDRESS_SIZE])
{
    const char *colon = memchr(item.at, ':', item.len);
    struct span host = item, port = {NULL, 0};
    struct address parsed;

    if (item.len > 1 && *item.at == '[') {
        const char *close = memchr(item.at, ']', item.len);
        if (!close)
            return false;
        host = (struct span){item.at + 1, (size_t)(close - item.at) - 1};
        port = (struct span){close + 1, item.len - host.len - 2};
    } else if (colon && memchr(item.at, '.', (size_t)(colon - item.at))) {
        host.len = (size_t)(colon - item.at);
        port = (struct span){colon, item.len - host.len};
    }
    if (host.len == 0 || host.len >= ADDRESS_SIZE || !port_or_nothing(port))
        return false;
    memcpy(out, host.at, host.len);
    out[host.len] = 0;
    return parse_host(out, &parsed);
}

bool address_forwarded(const char *trusted, struct span list, char out[ADDRESS_SIZE])
{
    while (list.len > 0) {
        size_t start = list.len;
        struct span item;
        char text[ADDRESS_SIZE];

        while (start > 0 && list.at[start - 1] != ',')
            start--;
        item = trim((struct span){list.at + start, list.len - start});
        list.len = start > 0 ? start - 1 : 0;
        if (item.len == 0 || !read_node(item, text))
            return false;
        memcpy(out, text, strlen(text) + 1);
        if (!address_listed(trusted, text))
            return false;
    }
    return true;
}
